"""Denoising autoencoder: reconstructs the clean image from a corrupted one, so that copying the input does not help.

Vincent, Larochelle, Bengio & Manzagol, Extracting and Composing Robust Features with Denoising Autoencoders, ICML 2008.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genlab.models.autoencoders.autoencoder import Autoencoder
from genlab.registry import CORRUPTIONS, MODELS, CorruptionSpec


@MODELS("denoising_ae")
class DenoisingAutoencoder(Autoencoder):
    """An autoencoder whose input in training is corrupted by `corruption`, each image anew at every step."""

    def __init__(self, corruption: CorruptionSpec, **options: Any) -> None:
        super().__init__(**options)
        self.corruption = str(corruption["name"])
        self.corrupt = CORRUPTIONS.build(corruption, "model.corruption")

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """The reconstruction of the corrupted image, compared with the clean one."""
        return self.reconstruction_loss(self.decoder(self.encoder(self.corrupt(image))), image)

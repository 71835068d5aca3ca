"""Conditional GAN: both networks are given the class of the image, so that samples can be asked for by class.

The label joins the generator's noise as a one-hot vector, and the discriminator's image as one-hot channels.

Mirza & Osindero, Conditional Generative Adversarial Nets, 2014 (arXiv:1411.1784); labels as channels: the code of
Radford, Metz & Chintala (2016).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Shape
from genlab.models.gans.gan import GAN
from genlab.nn.layers.labels import in_turn, needed, one_hot, with_planes
from genlab.registry import MODELS, ClassLabel, PositiveInt


@MODELS("cgan")
class ConditionalGAN(GAN):
    """A code is [z, one-hot label], z of length `latent_dim`. The fakes have the labels of the real images."""

    inputs = ("image", "label")
    incompatible: ClassVar = {"pack": "the images of a pack have different labels"}

    def __init__(self, image_shape: Shape, num_classes: int | None, latent_dim: PositiveInt = 100, **gan: Any) -> None:
        self.num_classes = needed(num_classes, type(self).__name__)  # first: build_discriminator needs it
        super().__init__(image_shape, latent_dim=latent_dim + self.num_classes, **gan)
        self.latent_dim = latent_dim

    def build_discriminator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        channels, height, width = image_shape
        return super().build_discriminator(spec, (channels + self.num_classes, height, width))

    def discriminator_logits(self, images: Tensor, *conditions: Tensor) -> Tensor:
        """D(x|y), (N, 1), for images in [-1, 1] and their labels (N,)."""
        [label] = conditions
        logits: Tensor = self.discriminator(with_planes(self.augmented(images), label, self.num_classes))
        return logits

    def fakes(self, code: Tensor, *conditions: Tensor) -> Tensor:
        """Images in [-1, 1] of the labels in `conditions`; the label in `code` is replaced."""
        return super().fakes(self.code(code[:, : self.latent_dim], *conditions))

    def code(self, z: Tensor, label: Tensor) -> Tensor:
        return torch.cat([z, one_hot(label, self.num_classes)], 1)

    def prior(self, n: int) -> Tensor:
        """n codes; all classes are equally likely."""
        z = super().prior(n)
        return self.code(z, (rng.uniform(n, like=z) * self.num_classes).long())

    def sample(self, n: int, label: ClassLabel = None) -> Tensor:
        """n images of class `label` (0 to num_classes − 1), or of all classes in turn."""
        z = super().prior(n)
        return self.decode(self.code(z, in_turn(n, self.num_classes, label, like=z)))

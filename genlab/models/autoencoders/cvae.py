"""Conditional variational autoencoder (CVAE).

A VAE whose two networks also receive the image's label y: q(z|x, y) and p(x|z, y). The code z need not represent the
label, and the decoder generates images of a requested class.

Sohn, Lee & Yan, Learning Structured Output Representation using Deep Conditional Generative Models, NeurIPS 2015;
Kingma, Rezende, Mohamed & Welling, Semi-Supervised Learning with Deep Generative Models, NeurIPS 2014
(arXiv:1406.5298), model M2 with every label known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Shape
from genlab.models.autoencoders.vae import VAE
from genlab.nn.layers.labels import in_turn, needed, one_hot
from genlab.registry import MODELS, NETWORKS, ClassLabel, NetworkSpec, PositiveInt


@MODELS("cvae")
class CVAE(VAE):
    """The encoder sees the label as one more image channel, a learned plane per class, so that any network can read it.

    A code is [z, one-hot label]. Each image has one class; attributes, of which it can have several, are not supported.
    """

    inputs = ("image", "label")
    conditions = ("label",)

    def __init__(
        self,
        image_shape: Shape,
        num_classes: int | None,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 20,
        **options: Any,
    ) -> None:
        num_classes = needed(num_classes, "cvae")
        super().__init__(image_shape, network, decoder, latent_dim, **options)
        channels, height, width = image_shape
        self.num_classes = num_classes
        self.plane = nn.Sequential(nn.Linear(num_classes, height * width), nn.Unflatten(1, (1, height, width)))
        inp, code = (channels + 1, height, width), latent_dim + num_classes  # the VAE's networks with wider inputs
        self.encoder = NETWORKS.build(network, "model.network", inp=inp, out=2 * latent_dim)
        self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=code, out=image_shape)

    def posterior(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x, y), each (N, latent_dim)."""
        (label,) = conditions
        return super().posterior(torch.cat([image, self.plane(one_hot(label, self.num_classes)).to(image.dtype)], 1))

    def code(self, z: Tensor, *conditions: Tensor) -> Tensor:
        (label,) = conditions
        return torch.cat([z, one_hot(label, self.num_classes)], 1)

    def prior(self, n: int) -> Tensor:
        """n codes, whose classes are uniformly distributed."""
        z = super().prior(n)
        return self.code(z, (rng.uniform(n, like=z) * self.num_classes).long())

    def sample(self, n: int, label: ClassLabel = None) -> Tensor:
        """n images of class `label` (0 to num_classes − 1), or of all classes in turn."""
        z = super().prior(n)
        return self.decode(self.code(z, in_turn(n, self.num_classes, label, like=z)))

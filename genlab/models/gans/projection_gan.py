"""Projection discriminator: a conditional GAN whose discriminator compares the label with the features of the image.

Miyato & Koyama, cGANs with Projection Discriminator, ICLR 2018 (arXiv:1802.05637).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genlab.core.model import Shape
from genlab.models.gans.cgan import ConditionalGAN
from genlab.nn.layers.spectral import SpectralNorm, spectral
from genlab.nn.layers.stages import cut, shape_of
from genlab.registry import MODELS, NETWORKS


@MODELS("projection_gan")
class ProjectionGAN(ConditionalGAN):
    """The generator is that of `cgan`; the discriminator adds y·Vφ(x) to its logit."""

    def build_discriminator(self, spec: dict[str, Any], image_shape: Shape) -> nn.Module:
        network = NETWORKS.build(spec, "model.discriminator", inp=image_shape, out=1)
        return ProjectionDiscriminator(network, image_shape, self.num_classes)

    def discriminator_logits(self, images: Tensor, *conditions: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(self.augmented(images), *conditions)
        return logits


class ProjectionDiscriminator(nn.Module):
    """ψ(φ(x)) + y·Vφ(x), equation 6: φ are the last hidden features of `network`, summed over positions in the product.

    `embedding` holds the rows of V.
    """

    def __init__(self, network: nn.Module, image_shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.network = network
        body, _ = cut(network, "model.discriminator")
        self.embedding = nn.Embedding(num_classes, shape_of(body, image_shape)[0])
        if any(isinstance(each, SpectralNorm) for each in network.modules()):
            spectral(self.embedding)  # as in the authors' code: without it D is not Lipschitz

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """Logits (N, 1) of images (N, C, H, W) and their labels (N,)."""
        body, last = cut(self.network, "model.discriminator")
        features = body(images)
        summed = features.unflatten(1, (-1, 1)).flatten(2).sum(2)  # over positions, if there are any
        logits: Tensor = last(features) + (self.embedding(label) * summed).sum(1, keepdim=True)
        return logits

"""Discriminators of images that have a class."""

from __future__ import annotations

from torch import Tensor, nn

from genlab.core.model import Shape
from genlab.nn.layers.labels import with_planes
from genlab.nn.layers.spectral import SpectralNorm, spectral
from genlab.nn.layers.stages import cut, shape_of
from genlab.registry import NETWORKS, NetworkSpec


class Concatenated(nn.Module):
    """The class joins the image as channels, one-hot at every pixel, as it joins the generator's noise.

    Mirza & Osindero, Conditional Generative Adversarial Nets, 2014 (arXiv:1411.1784); as channels: Radford, Metz &
    Chintala's code (2016).
    """

    def __init__(self, spec: NetworkSpec, image_shape: Shape, classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.classes = classes
        told = (channels + classes, height, width)
        self.network = NETWORKS.build(spec, "model.discriminator", inp=told, out=1)

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """Logits (N, 1) of images (N, C, H, W) and their classes (N,)."""
        logits: Tensor = self.network(with_planes(images, label, self.classes))
        return logits


class Projection(nn.Module):
    """ψ(φ(x)) + y·Vφ(x): the class is compared with what the discriminator sees, and is no part of what it sees.

    Miyato & Koyama, cGANs with Projection Discriminator, ICLR 2018 (arXiv:1802.05637), eq. 6. In the product φ is the
    sum over the places of the last hidden feature maps, and `embedding` holds V's rows.
    """

    def __init__(self, spec: NetworkSpec, image_shape: Shape, classes: int) -> None:
        super().__init__()
        self.network = NETWORKS.build(spec, "model.discriminator", inp=image_shape, out=1)
        body, _ = cut(self.network, "model.discriminator")
        self.embedding = nn.Embedding(classes, shape_of(body, image_shape)[0])
        if any(isinstance(each, SpectralNorm) for each in self.network.modules()):
            spectral(self.embedding)  # V too, as in the authors' code: D would not be Lipschitz without

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """Logits (N, 1) of images (N, C, H, W) and their classes (N,)."""
        body, last = cut(self.network, "model.discriminator")
        seen = body(images)
        summed = seen.unflatten(1, (-1, 1)).flatten(2).sum(2)  # over the places, where there are any
        logits: Tensor = last(seen) + (self.embedding(label) * summed).sum(1, keepdim=True)
        return logits


class Auxiliary(nn.Module):
    """The network also says which class it takes an image for, and is not told any.

    Odena, Olah & Shlens, Conditional Image Synthesis with Auxiliary Classifier GANs, ICML 2017 (arXiv:1610.09585).
    """

    def __init__(self, spec: NetworkSpec, image_shape: Shape, classes: int) -> None:
        super().__init__()
        self.network = NETWORKS.build(spec, "model.discriminator", inp=image_shape, out=1 + classes)

    def answers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of being real (N, 1) and of the classes (N, classes) of images (N, C, H, W)."""
        logits: Tensor = self.network(images)
        return logits[:, :1], logits[:, 1:]

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """The logits of being real; the label is not read."""
        return self.answers(images)[0]

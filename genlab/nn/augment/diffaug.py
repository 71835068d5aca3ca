"""Differentiable augmentation: random transforms of the discriminator's images, against memorizing few of them.

Real and generated images are transformed before the discriminator sees them, and gradients flow through the transform,
so the generator learns images as they are, not as they look augmented. An augmentation is a module from images in
[-1, 1] to images of the same shape. In training its `observe` takes the discriminator's logits of real images and how
many images these were; it returns the values to log.

Zhao, Liu, Lin, Zhu & Han, Differentiable Augmentation for Data-Efficient GAN Training, NeurIPS 2020 (arXiv:2006.10738).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.nn.augment.warp import warp
from genlab.nn.layers.shapes import Image
from genlab.registry import AUGMENTATIONS, Fraction

Policy = Literal["color", "translation", "cutout"]


def refuse_points(shape: Image) -> None:
    """ConfigError for points, which are images of one pixel: they cannot be moved, rotated or recolored."""
    if shape[1:] == (1, 1):
        raise ConfigError("points cannot be augmented", "key model.augment", "use model.augment=null")


@AUGMENTATIONS("diffaug")
class DiffAugment(nn.Module):
    """Applies each transform that `policy` lists to every image, each time by a new random amount."""

    def __init__(
        self,
        image_shape: Image,
        policy: Annotated[tuple[Policy, ...], MinLen(1)] = ("color", "translation", "cutout"),
        shift: Fraction = 0.125,
        hole: Fraction = 0.5,
    ) -> None:
        super().__init__()
        refuse_points(image_shape)
        self.transforms = [
            {"color": recolor, "translation": self.translate, "cutout": self.cut}[name] for name in policy
        ]
        self.shift, self.hole = shift, hole

    def forward(self, image: Tensor) -> Tensor:
        for transform in self.transforms:
            image = transform(image)
        return image

    def observe(self, logits: Tensor, images: int) -> dict[str, Tensor]:
        return {}  # the strength is fixed

    def translate(self, image: Tensor) -> Tensor:
        """Shift by whole pixels, by up to the fraction `shift` of each side; pixels from outside are 0, gray."""
        u = rng.uniform(len(image), 2, like=image)
        matrix = torch.eye(2, 3, device=image.device).repeat(len(image), 1, 1)
        for axis, side in enumerate((image.shape[3], image.shape[2])):
            reach = int(side * self.shift + 0.5)
            matrix[:, axis, 2] = (u[:, axis] * (2 * reach + 1)).floor() - reach
        return warp(image, matrix, padding="zeros")

    def cut(self, image: Tensor) -> Tensor:
        """Set a rectangle to 0; its sides are the fraction `hole` of the image's, its center is random."""
        u = rng.uniform(len(image), 2, like=image)
        down, across = (self._inside(u[:, axis], image.shape[2 + axis]) for axis in (0, 1))
        return image * ~(down[:, None, :, None] & across[:, None, None, :])

    def _inside(self, center: Tensor, side: int) -> Tensor:
        """Which of `side` rows or columns a hole with this `center` (N,) in [0, 1) covers: (N, side)."""
        distance = torch.arange(side, device=center.device) - (center * side).floor()[:, None]
        half = side * self.hole / 2
        return (distance >= -half) & (distance < half)


def recolor(image: Tensor) -> Tensor:
    """Brightness by up to ±0.5, saturation by a factor in [0, 2), contrast by one in [0.5, 1.5)."""
    brightness, saturation, contrast = rng.uniform(len(image), 3, 1, 1, 1, like=image).unbind(1)
    image = image + brightness - 0.5
    gray = image.mean(1, keepdim=True)
    image = gray + (image - gray) * 2 * saturation
    middle = image.mean((1, 2, 3), keepdim=True)
    return middle + (image - middle) * (contrast + 0.5)

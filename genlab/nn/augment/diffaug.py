"""What a discriminator's images go through so that it cannot learn few images by heart: transforms drawn at random.

Both the real and the generated images are changed before the discriminator sees them, and gradients flow through the
change: the generator learns the images, not their changed look. An augmentation is a module from images in [-1, 1] to
images of the same shape. `observe` is told the discriminator's logits of real images, and how many these were; here and
in evaluation that does nothing. `said` is what there is to log.

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

Policy = Literal["colour", "translation", "cutout"]


def refuse_points(shape: Image) -> None:
    """ConfigError for points, which are images of one pixel: nothing can be moved, turned or recoloured there."""
    if shape[1:] == (1, 1):
        raise ConfigError("points cannot be augmented", "key model.augment", "use model.augment=null")


@AUGMENTATIONS("diffaug")
class DiffAugment(nn.Module):
    """Every image is changed, each time by another amount, in each way that `policy` names."""

    def __init__(
        self,
        image_shape: Image,
        policy: Annotated[tuple[Policy, ...], MinLen(1)] = ("colour", "translation", "cutout"),
        shift: Fraction = 0.125,
        hole: Fraction = 0.5,
    ) -> None:
        super().__init__()
        refuse_points(image_shape)
        self.ways = [{"colour": recolor, "translation": self.translate, "cutout": self.cut}[way] for way in policy]
        self.shift, self.hole = shift, hole

    def forward(self, image: Tensor) -> Tensor:
        for way in self.ways:
            image = way(image)
        return image

    def observe(self, logits: Tensor, images: int) -> None:
        """The strength of these changes is fixed."""

    def said(self) -> dict[str, Tensor]:
        return {}

    def translate(self, image: Tensor) -> Tensor:
        """Move by whole pixels, up to the share `shift` of each side; what comes in is 0, grey."""
        u = rng.uniform(len(image), 2, like=image)
        matrix = torch.eye(2, 3, device=image.device).repeat(len(image), 1, 1)
        for axis, side in enumerate((image.shape[3], image.shape[2])):
            reach = int(side * self.shift + 0.5)
            matrix[:, axis, 2] = (u[:, axis] * (2 * reach + 1)).floor() - reach
        return warp(image, matrix, padding="zeros")

    def cut(self, image: Tensor) -> Tensor:
        """Set a rectangle to 0 whose sides are the share `hole` of the image's, its centre anywhere in the image."""
        u = rng.uniform(len(image), 2, like=image)
        down, across = (self._inside(u[:, axis], image.shape[2 + axis]) for axis in (0, 1))
        return image * ~(down[:, None, :, None] & across[:, None, None, :])

    def _inside(self, place: Tensor, side: int) -> Tensor:
        """Which of `side` rows or columns the hole covers whose middle is at `place` (N,) in [0, 1): (N, side)."""
        distance = torch.arange(side, device=place.device) - (place * side).floor()[:, None]
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

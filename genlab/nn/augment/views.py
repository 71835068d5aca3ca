"""Random views of an image, for models that learn what two views of the same image have in common.

Chen, Kornblith, Norouzi & Hinton, A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020
(arXiv:2002.05709), appendix A: random crops that are resized, mirroring, color distortion. Blur, which the paper finds
of little use on small images, and changes of hue are left out; rotation, for drawings, is added.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from genlab.core import rng
from genlab.nn.augment.diffaug import refuse_points
from genlab.nn.augment.warp import warp
from genlab.nn.layers.shapes import Image
from genlab.registry import AUGMENTATIONS, Fraction, NonNegativeFloat

LOG_RATIO = math.log(4 / 3)  # of the sides of a crop, to either side
BRIGHTNESS = CONTRAST = SATURATION = 0.8  # largest relative changes at color = 1
GRAY = 0.2  # probability that a color image becomes gray, at color = 1


@AUGMENTATIONS("views")
class Views(nn.Module):
    """`area` is the smallest part of the image that a crop shows, `rotation` the largest angle to either side in
    degrees, `color` the strength of color distortion; `flip` mirrors half of the views."""

    def __init__(
        self,
        image_shape: Image,
        area: Annotated[float, Gt(0), Le(1)] = 0.2,
        flip: bool = True,
        rotation: NonNegativeFloat = 0.0,
        color: Fraction = 0.5,
    ) -> None:
        super().__init__()
        refuse_points(image_shape)
        self.area, self.flip, self.rotation, self.color = area, flip, math.radians(rotation), color

    def forward(self, image: Tensor) -> Tensor:
        """Views (N, C, H, W) of images in [-1, 1], in the same range."""
        with torch.autocast(image.device.type, enabled=False):  # half precision cannot address single pixels
            image = warp(image, self.crop(image))
            return self.distort(image).clamp(-1, 1) if self.color else image

    def observe(self, logits: Tensor, images: int) -> dict[str, Tensor]:
        return {}  # the strength is fixed

    def crop(self, image: Tensor) -> Tensor:
        """Maps (N, 2, 3) from pixels of a view to positions in the image, both relative to the center."""
        u = rng.uniform(len(image), 6, like=image)
        area, ratio = self.area + (1 - self.area) * u[:, 0], torch.exp(LOG_RATIO * (2 * u[:, 1] - 1))
        sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)  # x, y
        height, width = image.shape[2:]  # not the model's: small levels of a progressive GAN have smaller images
        shift = (u[:, 2:4] - 0.5) * (1 - sides)
        shift = torch.stack([width * shift[:, 0], height * shift[:, 1]], 1)
        mirror = torch.where(u[:, 4] < 0.5, -1.0, 1.0) if self.flip else torch.ones_like(area)
        angle = self.rotation * (2 * u[:, 5] - 1)
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
        scale = torch.stack([sides[:, 0] * mirror, sides[:, 1]], 1)
        return torch.cat([turn * scale[:, None], shift[:, :, None]], 2)

    def distort(self, image: Tensor) -> Tensor:
        """Brightness, contrast and saturation changed by random factors; some images without color."""
        u = rng.uniform(len(image), 4, 1, 1, 1, like=image)
        change = self.color * (2 * u[:, :3] - 1)
        image = (image + 1) / 2 * (1 + BRIGHTNESS * change[:, 0])
        middle = image.mean((1, 2, 3), keepdim=True)
        image = middle + (image - middle) * (1 + CONTRAST * change[:, 1])
        gray = image.mean(1, keepdim=True)
        saturation = (1 + SATURATION * change[:, 2]) * (u[:, 3] >= GRAY * self.color)
        return 2 * (gray + (image - gray) * saturation) - 1

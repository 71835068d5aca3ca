"""Adaptive discriminator augmentation: its strength follows how much the discriminator overfits.

Each transform is applied with probability p. r_t = E[sign D(x)] at real images measures overfitting: above a target it
raises p, below the target it lowers p (section 3). While p is below about 0.8 the augmentations do not leak into the
generated images (section 2).

Karras, Aittala, Hellsten, Laine, Lehtinen & Aila, Training Generative Adversarial Networks with Limited Data,
NeurIPS 2020 (arXiv:2006.06676): appendix B without filtering, noise and cutout, as in the paper's runs.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.distributed as dist
from annotated_types import Ge, Le
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.global_batch import global_mean
from genlab.nn.augment.diffaug import refuse_points
from genlab.nn.augment.warp import warp
from genlab.nn.layers.shapes import Image
from genlab.registry import AUGMENTATIONS, Fraction, PositiveFloat

SMOOTHING = 0.25  # of r_t: about the four batches that the authors average
SHIFT = 0.125  # largest shift by whole pixels, and standard deviation of one by fractions of a pixel, in sides
LOG2_SCALE = 0.2  # standard deviations of log2 of the scales, of the brightness, ...
BRIGHTNESS, LOG2_CONTRAST, LOG2_SATURATION = 0.2, 0.5, 1.0


@AUGMENTATIONS("ada")
class Adaptive(nn.Module):
    """p is a buffer, on the device, and changes in training only."""

    p: Tensor
    r_t: Tensor
    eye: Tensor
    gray: Tensor
    cross: Tensor

    def __init__(
        self,
        image_shape: Image,
        target: Annotated[float, Ge(-1), Le(1)] = 0.6,
        kimg: PositiveFloat = 500.0,
        start: Fraction = 0.0,
        color: bool = True,
    ) -> None:
        super().__init__()
        refuse_points(image_shape)
        self.target, self.images, self.color = target, 1000 * kimg, color
        self.square = image_shape[1] == image_shape[2]
        self.register_buffer("p", torch.tensor(float(start)))
        self.register_buffer("r_t", torch.tensor(float(target)))  # a moving average
        # matrices on colors: the identity, the projection on the gray axis v, and the cross product with v
        self.register_buffer("eye", torch.eye(3), persistent=False)
        self.register_buffer("gray", torch.full((3, 3), 1 / 3), persistent=False)
        cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        self.register_buffer("cross", cross, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            matrix, spread = self.geometry(image)
            image = warp(image, matrix, "reflection", spread)
            return self.recolored(image) if self.color else image

    @torch.no_grad()
    def observe(self, logits: Tensor, images: int) -> dict[str, Tensor]:
        """Adjust p, in training, to the discriminator's logits of so many real images or packs of them.

        p can go from 0 to 1 within `kimg` thousand images, whatever the batch size (section 3).
        """
        if self.training:
            world_size = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
            self.r_t.lerp_(global_mean(logits.detach().float().sign().flatten(), self.training), SMOOTHING)
            self.p.add_((self.r_t - self.target).sign() * (images * world_size / self.images)).clamp_(0, 1)
        return {"ada_p": self.p.clone()}

    def geometry(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The affine map (N, 2, 3) of each image's coordinates, and whether it needs interpolation (N,)."""
        n, (height, width) = len(image), image.shape[2:]
        u, g = rng.uniform(n, 14, like=image), rng.normal(n, 4, like=image)
        happens = u[:, 5:] < self.p
        # of two rotations with probability p_rot each, one happens with probability p: 1 − p = (1 − p_rot)²
        happens[:, 5:7] = u[:, 10:12] < 1 - (1 - self.p).sqrt()
        flip, quarter, whole, scale, stretch, before, after, part = happens[:, :8].unbind(1)
        turns = (u[:, 0] * 4).floor() if self.square else (u[:, 0] * 2).floor() * 2
        matrix = _scaling(1 - 2.0 * (flip & (u[:, 1] < 0.5)), torch.ones(n, device=image.device))
        matrix = matrix @ _rotation(turns * quarter * (math.pi / 2)).round()
        x, y = (((2 * u[:, i] - 1) * (SHIFT * side)).round() * whole for i, side in ((2, width), (3, height)))
        matrix = matrix @ _moving(x, y)
        size = torch.exp2(g[:, 0] * LOG2_SCALE * scale)
        matrix = matrix @ _scaling(size, size)
        matrix = matrix @ _rotation((2 * u[:, 4] - 1) * math.pi * before)
        ratio = torch.exp2(g[:, 1] * LOG2_SCALE * stretch)
        matrix = matrix @ _scaling(ratio, 1 / ratio)
        matrix = matrix @ _rotation((2 * u[:, 13] - 1) * math.pi * after)
        matrix = matrix @ _moving(g[:, 2] * (SHIFT * width) * part, g[:, 3] * (SHIFT * height) * part)
        return matrix[:, :2], (scale | before | stretch | after | part).float()

    def recolored(self, image: Tensor) -> Tensor:
        """Each color transform is a 4x4 matrix on (r, g, b, 1); their product is applied. Gray: r = g = b."""
        n, channels = image.shape[:2]
        u, g = rng.uniform(n, 7, like=image), rng.normal(n, 3, like=image)
        light, contrast, luma, hue, saturation = (u[:, :5] < self.p).unbind(1)
        factor = torch.exp2(g[:, 1] * LOG2_CONTRAST * contrast)[:, None, None]
        shift = (g[:, 0] * BRIGHTNESS * light)[:, None, None] * factor
        # Householder: the lightness changes sign
        flipped = self.eye - 2 * self.gray * (luma & (u[:, 5] < 0.5))[:, None, None]
        matrix = flipped * factor
        shift = flipped @ shift.expand(n, 3, 1)
        if channels == 3:
            angle = ((2 * u[:, 6] - 1) * math.pi * hue)[:, None, None]
            vivid = torch.exp2(g[:, 2] * LOG2_SATURATION * saturation)[:, None, None]
            change = (self.gray + (self.eye - self.gray) * vivid) @ self.hue(angle)
            matrix, shift = change @ matrix, change @ shift
        else:
            matrix, shift = matrix.sum(2, keepdim=True).mean(1, keepdim=True), shift.mean(1, keepdim=True)
        return (matrix @ image.flatten(2) + shift).view_as(image)

    def hue(self, angle: Tensor) -> Tensor:
        """Rotations (N, 3, 3) of colors by `angle` (N, 1, 1) about the gray axis (Rodrigues)."""
        return angle.cos() * self.eye + angle.sin() * self.cross + (1 - angle.cos()) * self.gray


def _matrices(*entries: Tensor) -> Tensor:
    """Nine entries (N,) as matrices (N, 3, 3)."""
    return torch.stack(entries, 1).view(-1, 3, 3)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrices(x, zero, zero, zero, y, zero, zero, zero, one)


def _rotation(angle: Tensor) -> Tensor:
    zero, one, sine, cosine = torch.zeros_like(angle), torch.ones_like(angle), angle.sin(), angle.cos()
    return _matrices(cosine, -sine, zero, sine, cosine, zero, zero, zero, one)


def _moving(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrices(one, zero, x, zero, one, y, zero, zero, one)

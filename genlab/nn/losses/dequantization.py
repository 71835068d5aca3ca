"""Densities of images: noise that fills the 256 levels, and a logit scale without bounds.

With u uniform in [0, 1)ᴰ, E log p(x + u) ≤ log P(x), P being the mass of p in the bin of x: a bound on the likelihood
of 256 levels (Theis, van den Oord & Bethge, ICLR 2016, arXiv:1511.01844, section 3.1). Logits: Dinh, Sohl-Dickstein &
Bengio, Density Estimation Using Real NVP, ICLR 2017 (arXiv:1605.08803), section 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genlab.core import rng

LEVELS = 256


def dequantize(image: Tensor) -> Tensor:
    """Images in [0, 1] of 256 levels with uniform noise as wide as a level, in [0, 1)."""
    return _filled(image, rng.uniform(*image.shape, like=image))


def centered(image: Tensor) -> Tensor:
    """Images in [0, 1] at the middle of their levels, in (0, 1): dequantized without noise."""
    return _filled(image, torch.full_like(image, 0.5))


def _filled(image: Tensor, u: Tensor) -> Tensor:
    return (((LEVELS - 1) * image).round() + u) / LEVELS


def quantize(x: Tensor) -> Tensor:
    """The images in [0, 1] of 256 levels whose bins hold x in [0, 1]."""
    return (x * LEVELS).floor().clamp(0, LEVELS - 1) / (LEVELS - 1)


def per_level(log_density: Tensor, dimensions: int) -> Tensor:
    """The log density of x in [0, 1]ᴰ in units in which one of the 256 levels has the volume 1."""
    return log_density - dimensions * math.log(LEVELS)


def to_logit(x: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """y = logit(α + (1 − 2α) x) of x in [0, 1], and log |dy/dx| (N,), summed over pixels."""
    squeezed = alpha + (1 - 2 * alpha) * x
    y = squeezed.log() - torch.log1p(-squeezed)
    log_slope = math.log(1 - 2 * alpha) + softplus(y) + softplus(-y)
    return y, log_slope.flatten(1).sum(1)


def from_logit(y: Tensor, alpha: float) -> Tensor:
    """The x in [0, 1] with the logit y; the outermost ones are clamped."""
    return ((y.sigmoid() - alpha) / (1 - 2 * alpha)).clamp(0, 1)

"""Ways to corrupt an image: what a denoising autoencoder learns to undo, and what restoration is measured on.

Images are (N, C, H, W) in [0, 1] and stay so. `amount` is one number, or [low, high]: then each image draws its own,
uniformly. Vincent et al., Stacked Denoising Autoencoders, JMLR 11 (2010), section 3.3; boxes: Pathak et al., Context
Encoders, CVPR 2016 (arXiv:1604.07379).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from annotated_types import Len
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.registry import CORRUPTIONS, Fraction, NonNegativeFloat

Corruption = Callable[[Tensor], Tensor]
Level = NonNegativeFloat | Annotated[list[NonNegativeFloat], Len(2, 2)]
Share = Fraction | Annotated[list[Fraction], Len(2, 2)]
GRAY = 0.5  # of a box: it can be seen on black and on white


@CORRUPTIONS("gaussian")
def gaussian(amount: Level) -> Corruption:
    """x + σε cut off at 0 and 1, σ = `amount`, in units of the pixel range."""
    low, high = _range(amount)
    return lambda image: (image + _drawn(low, high, image) * rng.normal(*image.shape, like=image)).clamp(0, 1)


@CORRUPTIONS("masking")
def masking(amount: Share) -> Corruption:
    """A share `amount` of the pixels turns black, in all channels at once."""
    low, high = _range(amount)
    return lambda image: image * (_pixels(image) >= _drawn(low, high, image))


@CORRUPTIONS("salt_pepper")
def salt_pepper(amount: Share) -> Corruption:
    """A share `amount` of the pixels turns black or white, half of them each."""
    low, high = _range(amount)

    def corrupt(image: Tensor) -> Tensor:
        share, u = _drawn(low, high, image), _pixels(image)
        return image.masked_fill(u < share, 0.0).masked_fill(u < share / 2, 1.0)

    return corrupt


@CORRUPTIONS("box")
def box(amount: Share) -> Corruption:
    """A grey square somewhere in the image, its side a share `amount` of the image's shorter one."""
    low, high = _range(amount)
    return lambda image: image.masked_fill(box_mask(image, _drawn(low, high, image)), GRAY)


def box_mask(image: Tensor, share: Tensor | float) -> Tensor:
    """True (N, 1, H, W) inside a square, `share` of the shorter side, at a place drawn uniformly for each image."""
    height, width = image.shape[2:]
    side = (share * image.new_ones(len(image), 1, 1, 1) * min(height, width)).round()
    corner = rng.uniform(len(image), 2, like=image)[:, :, None, None]
    top = (corner[:, :1] * (height - side + 1)).floor()
    left = (corner[:, 1:] * (width - side + 1)).floor()
    y = image.new_ones(height).cumsum(0).sub(1).view(1, 1, -1, 1)
    x = image.new_ones(width).cumsum(0).sub(1).view(1, 1, 1, -1)
    return (y >= top) & (y < top + side) & (x >= left) & (x < left + side)


def _range(amount: float | list[float]) -> tuple[float, float]:
    low, high = amount if isinstance(amount, list) else (amount, amount)
    if low > high:
        raise ConfigError(f"no number lies in [{low:g}, {high:g}]", "key amount of a corruption", "give [low, high]")
    return low, high


def _drawn(low: float, high: float, image: Tensor) -> Tensor | float:
    """An amount for each image, (N, 1, 1, 1)."""
    if low == high:
        return low
    return low + (high - low) * rng.uniform(len(image), 1, 1, 1, like=image)


def _pixels(image: Tensor) -> Tensor:
    """A uniform number for each place, (N, 1, H, W)."""
    return rng.uniform(len(image), 1, *image.shape[2:], like=image)

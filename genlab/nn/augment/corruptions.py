"""Image corruptions: inputs of a denoising autoencoder, and the test cases of restoration.

Images are (N, C, H, W) in [0, 1] before and after. `amount` is one number, or [low, high]: then each image has its own
uniformly random amount. Vincent et al., Stacked Denoising Autoencoders, JMLR 11 (2010), section 3.3; boxes: Pathak et
al., Context Encoders, CVPR 2016 (arXiv:1604.07379).
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
Fractions = Fraction | Annotated[list[Fraction], Len(2, 2)]
GRAY = 0.5  # of a box: visible on black and on white


@CORRUPTIONS("gaussian")
def gaussian(amount: Level) -> Corruption:
    """x + σε, where σ = `amount` in units of the pixel range; images clamped to [0, 1], points (N, D, 1, 1) not."""
    amounts = _sampler(amount)

    def corrupt(image: Tensor) -> Tensor:
        noisy = image + amounts(image) * rng.normal(*image.shape, like=image)
        return noisy if image.shape[2:] == (1, 1) else noisy.clamp(0, 1)

    return corrupt


@CORRUPTIONS("masking")
def masking(amount: Fractions) -> Corruption:
    """A fraction `amount` of the pixels becomes black, in all channels at once."""
    amounts = _sampler(amount)
    return lambda image: image * (_uniform_map(image) >= amounts(image))


@CORRUPTIONS("salt_pepper")
def salt_pepper(amount: Fractions) -> Corruption:
    """A fraction `amount` of the pixels becomes black or white, half of them each."""
    amounts = _sampler(amount)

    def corrupt(image: Tensor) -> Tensor:
        fraction, u = amounts(image), _uniform_map(image)
        return image.masked_fill(u < fraction, 0.0).masked_fill(u < fraction / 2, 1.0)

    return corrupt


@CORRUPTIONS("box")
def box(amount: Fractions) -> Corruption:
    """A gray square at a random position, whose side is a fraction `amount` of the image's shorter side."""
    amounts = _sampler(amount)
    return lambda image: image.masked_fill(box_mask(image, amounts(image)), GRAY)


def untrained_corruption(model: object, corruption: str) -> str | None:
    """What to do if a model was trained on another corruption only, and is now to undo this one."""
    known = getattr(model, "corruption", None)
    if known in (None, corruption):
        return None
    return f"the model was trained on {known} corruption, not on {corruption}: use model.corruption.name={corruption}"


def box_mask(image: Tensor, fraction: Tensor | float) -> Tensor:
    """True (N, 1, H, W) inside a square of `fraction` of the shorter side, at a uniform position in each image."""
    height, width = image.shape[2:]
    side = (fraction * image.new_ones(len(image), 1, 1, 1) * min(height, width)).round()
    corner = rng.uniform(len(image), 2, like=image)[:, :, None, None]
    top = (corner[:, :1] * (height - side + 1)).floor()
    left = (corner[:, 1:] * (width - side + 1)).floor()
    y = image.new_ones(height).cumsum(0).sub(1).view(1, 1, -1, 1)
    x = image.new_ones(width).cumsum(0).sub(1).view(1, 1, 1, -1)
    return (y >= top) & (y < top + side) & (x >= left) & (x < left + side)


def _sampler(amount: float | list[float]) -> Callable[[Tensor], Tensor | float]:
    """A function of a batch of images: the amount for all, or one for each image, (N, 1, 1, 1)."""
    low, high = amount if isinstance(amount, list) else (amount, amount)
    if low > high:
        raise ConfigError(f"[{low:g}, {high:g}] is an empty range", "key amount of a corruption", "use [low, high]")
    if low == high:
        return lambda image: low
    return lambda image: low + (high - low) * rng.uniform(len(image), 1, 1, 1, like=image)


def _uniform_map(image: Tensor) -> Tensor:
    """A uniform random number per pixel, (N, 1, H, W)."""
    return rng.uniform(len(image), 1, *image.shape[2:], like=image)

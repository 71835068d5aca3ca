"""What a network maps: an int is a vector, (C, H, W) an image."""

from __future__ import annotations

import math

from genlab.errors import ConfigError

Image = tuple[int, int, int]  # channels, height, width
Size = int | Image


def volume(size: Size) -> int:
    """How many numbers a vector or an image holds."""
    return size if isinstance(size, int) else math.prod(size)


def halvings(sides: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Feature map sizes from the image inwards: halved, rounding up, until 2x2, which further layers keep."""
    found = [sides]
    for _ in range(count):
        height, width = found[-1]
        found.append((height, width) if max(height, width) <= 2 else ((height + 1) // 2, (width + 1) // 2))
    return found


def misfit(network: str, maps: str, inp: Size, out: Size) -> ConfigError:
    """The error for a network asked to map what it cannot; `maps` says what it can."""
    return ConfigError(
        f"network '{network}' maps {maps}, not {inp} to {out}",
        f"network name={network}",
        "give this place in the model another network",
    )

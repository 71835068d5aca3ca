"""What a network maps: an int is a vector, (C, H, W) an image."""

from __future__ import annotations

import math

from genlab.errors import ConfigError

Image = tuple[int, int, int]  # channels, height, width
Size = int | Image


def volume(size: Size) -> int:
    """How many numbers a vector or an image holds."""
    return size if isinstance(size, int) else math.prod(size)


def misfit(network: str, maps: str, inp: Size, out: Size) -> ConfigError:
    """The error for a network asked to map what it cannot; `maps` says what it can."""
    return ConfigError(
        f"network '{network}' maps {maps}, not {inp} to {out}",
        f"network name={network}",
        "give this place in the model another network",
    )

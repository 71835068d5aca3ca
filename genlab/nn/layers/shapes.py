"""Sizes of a network's input and output: an int is a vector, (C, H, W) an image."""

from __future__ import annotations

import math

from genlab.errors import ConfigError

Image = tuple[int, int, int]  # channels, height, width
Size = int | Image


def volume(size: Size) -> int:
    """The number of elements of a vector or an image."""
    return size if isinstance(size, int) else math.prod(size)


def halved_sides(sides: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """`sides` and those after each of `count` layers: halved, rounding up, until 2x2, which further layers keep."""
    found = [sides]
    for _ in range(count):
        height, width = found[-1]
        found.append((height, width) if max(height, width) <= 2 else ((height + 1) // 2, (width + 1) // 2))
    return found


def smallest_map(network: str, image: Image, largest: int, least: int = 1) -> tuple[tuple[int, int], int]:
    """(sides, count) after halving an image as often as both sides are even and above `least`.

    ConfigError, naming a size that works, if the image cannot be halved or ends above `largest`.
    """
    sides, count = _halved(image[1:], least)
    if not count or max(sides) > largest:
        works = [n for n in range(8, 257, 2) if max(_halved((n, n), least)[0]) <= largest]
        size = min(works, key=lambda n: abs(n - min(image[1:])))
        raise ConfigError(
            f"network '{network}' needs images that halve evenly down to {largest}x{largest} or less, "
            f"not {image[1]}x{image[2]}",
            f"halving ends at {sides[0]}x{sides[1]}",
            f"use dataset.size={size}",
        )
    return sides, count


def _halved(sides: tuple[int, int], least: int) -> tuple[tuple[int, int], int]:
    count = 0
    while min(sides) > least and sides[0] % 2 == sides[1] % 2 == 0:
        sides, count = (sides[0] // 2, sides[1] // 2), count + 1
    return sides, count


def misfit(
    network: str, maps: str, inp: Size, out: Size, instead: str = "choose another network for this key of the model"
) -> ConfigError:
    """The error for a network with an unsupported input or output size; `maps` describes the supported ones."""
    return ConfigError(
        f"network '{network}' maps {maps}, not {inp} to {out}",
        f"network name={network}",
        instead,
    )

"""Convolutional encoder and its mirror image, the decoder, for images of any size."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import MinLen
from torch import nn

from genlab.networks.activations import ACTIVATIONS, Activation
from genlab.networks.shapes import Image, Size, misfit
from genlab.registry import NETWORKS, PositiveInt

Norm = Literal["batch", "none"]
Sides = tuple[int, int]  # height, width of a feature map


@NETWORKS("conv")
def conv(
    inp: Size,
    out: Size,
    channels: Annotated[list[PositiveInt], MinLen(1)],
    norm: Norm = "batch",
    activation: Activation = "leaky_relu",
) -> nn.Sequential:
    """3x3 convolutions that halve the image, with `norm` and `activation`, then a linear map to the code.

    `channels` counts feature maps from the image's side, one entry a layer. A decoder runs the same layers
    backwards, transposed, and ends in one more 3x3 convolution, to the image's channels. Weights start as
    torch's.
    """
    if isinstance(out, int) and not isinstance(inp, int):
        return _encoder(inp, out, channels, norm, activation)
    if isinstance(inp, int) and not isinstance(out, int):
        return _decoder(inp, out, channels, norm, activation)
    raise misfit("conv", "an image to a vector or a vector to an image", inp, out)


def _encoder(image: Image, code: int, channels: list[int], norm: Norm, activation: Activation) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))
    layers: list[nn.Module] = []
    for (a, b), (large, small) in zip(pairwise([image[0], *channels]), pairwise(sides), strict=True):
        layers += [nn.Conv2d(a, b, 3, _stride(large, small), padding=1), *_block_end(b, norm, activation)]
    height, width = sides[-1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, code))


def _decoder(code: int, image: Image, channels: list[int], norm: Norm, activation: Activation) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))[::-1]
    widths = [*reversed(channels), channels[0]]
    first = (widths[0], *sides[0])
    layers: list[nn.Module] = [nn.Linear(code, first[0] * first[1] * first[2]), nn.Unflatten(1, first)]
    for (a, b), (small, large) in zip(pairwise(widths), pairwise(sides), strict=True):
        stride = _stride(large, small)
        # a transposed convolution gives (n-1)·stride + 1: what is missing is added on one side
        missing = (large[0] - (small[0] - 1) * stride - 1, large[1] - (small[1] - 1) * stride - 1)
        layers += [
            nn.ConvTranspose2d(a, b, 3, stride, padding=1, output_padding=missing),
            *_block_end(b, norm, activation),
        ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], image[0], 3, padding=1))


def halvings(image: Sides, layers: int) -> list[Sides]:
    """Feature map sizes from the image inwards: halved, rounding up, until 2x2, which further layers keep."""
    sides = [image]
    for _ in range(layers):
        height, width = sides[-1]
        sides.append((height, width) if max(height, width) <= 2 else ((height + 1) // 2, (width + 1) // 2))
    return sides


def _stride(large: Sides, small: Sides) -> int:
    return 1 if large == small else 2


def _block_end(channels: int, norm: Norm, activation: Activation) -> list[nn.Module]:
    normalise: list[nn.Module] = [nn.BatchNorm2d(channels)] if norm == "batch" else []
    return [*normalise, ACTIVATIONS[activation]()]

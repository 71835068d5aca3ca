"""Convolutional encoder, and the decoder that mirrors it, for images of any size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import MinLen
from torch import nn

from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.shapes import Size, halved_sides, misfit, volume
from genlab.registry import NETWORKS, PositiveInt

Norm = Literal["batch", "none"]
Resample = Literal["stride", "pool"]
Channels = Annotated[list[PositiveInt], MinLen(1)]
Sides = tuple[int, int]
Stage = Callable[[int, int, Sides, Sides], list[nn.Module]]


@NETWORKS("conv")
def conv(
    inp: Size,
    out: Size,
    channels: Channels,
    norm: Norm = "batch",
    activation: Activation = "leaky_relu",
    resample: Resample = "stride",
) -> nn.Sequential:
    """3x3 convolutions that halve the image, each with `norm` and `activation`, then a linear map to the code.

    `channels` are the feature maps of the layers, starting from the image. A decoder has the transposed layers in
    reverse order and ends with one more 3x3 convolution. With `resample: pool`, convolutions keep the size, which max
    pooling halves and nearest-neighbor upsampling doubles. Weights have torch's initialization.
    """

    def end(channels: int) -> list[nn.Module]:
        return [*([nn.BatchNorm2d(channels)] if norm == "batch" else []), ACTIVATIONS[activation]()]

    def down(a: int, b: int, large: Sides, small: Sides) -> list[nn.Module]:
        stride = 1 if large == small else 2  # the sides stay once they are 2x2
        if resample == "stride":
            return [nn.Conv2d(a, b, 3, stride, padding=1), *end(b)]
        pool = [nn.MaxPool2d(2, ceil_mode=True)] if stride == 2 else []
        return [nn.Conv2d(a, b, 3, padding=1), *end(b), *pool]

    def up(a: int, b: int, small: Sides, large: Sides) -> list[nn.Module]:
        if resample == "pool":
            return [nn.Upsample(large), nn.Conv2d(a, b, 3, padding=1), *end(b)]
        stride = 1 if large == small else 2
        # a transposed convolution gives (n-1)·stride + 1; the rest is padded on one side
        missing = (large[0] - (small[0] - 1) * stride - 1, large[1] - (small[1] - 1) * stride - 1)
        return [nn.ConvTranspose2d(a, b, 3, stride, padding=1, output_padding=missing), *end(b)]

    return pyramid("conv", inp, out, channels, down, up)


def pyramid(
    network: str,
    inp: Size,
    out: Size,
    channels: list[int],
    down: Stage,
    up: Stage,
    kernel_size: int = 3,
    bias: bool = True,
    stem: bool = False,
    end: Callable[[int], list[nn.Module]] = lambda channels: [],
) -> nn.Sequential:
    """An encoder of `down` stages and a linear map, or the decoder that mirrors it: a linear map, then `up` stages.

    A stage is built from its numbers of feature maps and its sides, before and after. With `stem`, a convolution to
    channels[0] precedes the encoder's stages; `end` layers follow the stages. A decoder ends in a convolution.
    """
    padding = kernel_size // 2
    if isinstance(out, int) and not isinstance(inp, int):
        sides = halved_sides(inp[1:], len(channels))
        widths = [channels[0] if stem else inp[0], *channels]
        layers: list[nn.Module] = [nn.Conv2d(inp[0], widths[0], kernel_size, padding=padding)] if stem else []
        for (a, b), (before, after) in zip(pairwise(widths), pairwise(sides), strict=True):
            layers += down(a, b, before, after)
        head = nn.Linear(volume((channels[-1], *sides[-1])), out, bias=bias)
        return nn.Sequential(*layers, *end(channels[-1]), nn.Flatten(), head)
    if isinstance(inp, int) and not isinstance(out, int):
        sides = halved_sides(out[1:], len(channels))[::-1]
        widths = [*reversed(channels), channels[0]]
        first = (widths[0], *sides[0])
        layers = [nn.Linear(inp, volume(first), bias=bias), nn.Unflatten(1, first)]
        for (a, b), (before, after) in zip(pairwise(widths), pairwise(sides), strict=True):
            layers += up(a, b, before, after)
        last = nn.Conv2d(widths[-1], out[0], kernel_size, padding=padding, bias=bias)
        return nn.Sequential(*layers, *end(widths[-1]), last)
    raise misfit(network, "an image to a vector or a vector to an image", inp, out)

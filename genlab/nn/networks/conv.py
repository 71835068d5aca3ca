"""Convolutional encoder and its mirror image, the decoder, for images of any size."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import MinLen
from torch import nn

from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.shapes import Image, Size, halvings, misfit
from genlab.registry import NETWORKS, PositiveInt

Norm = Literal["batch", "none"]
Resample = Literal["stride", "pool"]


@NETWORKS("conv")
def conv(
    inp: Size,
    out: Size,
    channels: Annotated[list[PositiveInt], MinLen(1)],
    norm: Norm = "batch",
    activation: Activation = "leaky_relu",
    resample: Resample = "stride",
) -> nn.Sequential:
    """3x3 convolutions that halve the image, with `norm` and `activation`, then a linear map to the code.

    `channels` counts feature maps from the image's side, one entry a layer. A decoder runs the same layers
    backwards, transposed, and ends in one more 3x3 convolution, to the image's channels. With `resample: pool` the
    convolutions keep the size: max-pooling halves it on the way in, nearest neighbours double it on the way back.
    Weights start as torch's.
    """
    if isinstance(out, int) and not isinstance(inp, int):
        return _encoder(inp, out, channels, norm, activation, resample)
    if isinstance(inp, int) and not isinstance(out, int):
        return _decoder(inp, out, channels, norm, activation, resample)
    raise misfit("conv", "an image to a vector or a vector to an image", inp, out)


def _encoder(
    image: Image, code: int, channels: list[int], norm: Norm, activation: Activation, resample: Resample
) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))
    layers: list[nn.Module] = []
    for (a, b), (large, small) in zip(pairwise([image[0], *channels]), pairwise(sides), strict=True):
        stride = _stride(large, small)
        if resample == "stride":
            layers += [nn.Conv2d(a, b, 3, stride, padding=1), *_block_end(b, norm, activation)]
        else:  # pooling after the activation; where the image is 2x2 already, it stays
            layers += [nn.Conv2d(a, b, 3, padding=1), *_block_end(b, norm, activation)]
            layers += [nn.MaxPool2d(2, ceil_mode=True)] if stride == 2 else []
    height, width = sides[-1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, code))


def _decoder(
    code: int, image: Image, channels: list[int], norm: Norm, activation: Activation, resample: Resample
) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))[::-1]
    widths = [*reversed(channels), channels[0]]
    first = (widths[0], *sides[0])
    layers: list[nn.Module] = [nn.Linear(code, first[0] * first[1] * first[2]), nn.Unflatten(1, first)]
    for (a, b), (small, large) in zip(pairwise(widths), pairwise(sides), strict=True):
        if resample == "pool":
            layers += [nn.Upsample(large), nn.Conv2d(a, b, 3, padding=1), *_block_end(b, norm, activation)]
            continue
        stride = _stride(large, small)
        # a transposed convolution gives (n-1)·stride + 1: what is missing is added on one side
        missing = (large[0] - (small[0] - 1) * stride - 1, large[1] - (small[1] - 1) * stride - 1)
        layers += [
            nn.ConvTranspose2d(a, b, 3, stride, padding=1, output_padding=missing),
            *_block_end(b, norm, activation),
        ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], image[0], 3, padding=1))


def _stride(large: tuple[int, int], small: tuple[int, int]) -> int:
    return 1 if large == small else 2


def _block_end(channels: int, norm: Norm, activation: Activation) -> list[nn.Module]:
    normalize: list[nn.Module] = [nn.BatchNorm2d(channels)] if norm == "batch" else []
    return [*normalize, ACTIVATIONS[activation]()]

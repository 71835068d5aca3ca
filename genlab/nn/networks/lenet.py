"""Convolutions and pooling after LeNet, and their mirror image: the network of the one-class literature.

Ruff et al., Deep One-Class Classification, ICML 2018: no biases, and a batch norm without scale and shift.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import MinLen
from torch import nn

from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.shapes import Image, Size, halvings, misfit
from genlab.registry import NETWORKS, PositiveInt

KERNEL = 5


@NETWORKS("lenet")
def lenet(
    inp: Size,
    out: Size,
    channels: Annotated[list[PositiveInt], MinLen(1)],
    bias: bool = False,
    activation: Activation = "leaky_relu",
) -> nn.Sequential:
    """5x5 convolutions, each followed by batch norm, `activation` and 2x2 max pooling, then a linear map to the code.

    `channels` counts feature maps from the image's side. A decoder starts with a linear map and has nearest
    upsampling in place of pooling. `bias` also gives batch norm its scale and shift.
    """
    if isinstance(out, int) and not isinstance(inp, int):
        return _encoder(inp, out, channels, bias, activation)
    if isinstance(inp, int) and not isinstance(out, int):
        return _decoder(inp, out, channels, bias, activation)
    raise misfit("lenet", "an image to a vector or a vector to an image", inp, out)


def _encoder(image: Image, code: int, channels: list[int], bias: bool, activation: Activation) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))
    layers: list[nn.Module] = []
    for (a, b), (large, small) in zip(pairwise([image[0], *channels]), pairwise(sides), strict=True):
        layers += _block(a, b, bias, activation)
        if large != small:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
    height, width = sides[-1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, code, bias=bias))


def _decoder(code: int, image: Image, channels: list[int], bias: bool, activation: Activation) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))[::-1]
    widths = [*reversed(channels), channels[0]]
    first = (widths[0], *sides[0])
    layers: list[nn.Module] = [nn.Linear(code, first[0] * first[1] * first[2], bias=bias), nn.Unflatten(1, first)]
    for (a, b), (small, large) in zip(pairwise(widths), pairwise(sides), strict=True):
        layers += _block(a, b, bias, activation)
        if large != small:
            layers.append(nn.Upsample(large))
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], image[0], KERNEL, padding=KERNEL // 2, bias=bias))


def _block(a: int, b: int, bias: bool, activation: Activation) -> list[nn.Module]:
    convolution = nn.Conv2d(a, b, KERNEL, padding=KERNEL // 2, bias=bias)
    return [convolution, nn.BatchNorm2d(b, affine=bias), ACTIVATIONS[activation]()]

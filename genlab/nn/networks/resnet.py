"""Residual encoder and decoder for images of any size: x + F(x), normalised before each convolution.

He, Zhang, Ren & Sun, Identity Mappings in Deep Residual Networks, ECCV 2016 (arXiv:1603.05027), figure 1b.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import MinLen
from torch import Tensor, nn

from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.shapes import Image, Size, halvings, misfit
from genlab.nn.networks.conv import Norm
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("resnet")
def resnet(
    inp: Size,
    out: Size,
    channels: Annotated[list[PositiveInt], MinLen(1)],
    blocks: PositiveInt = 2,
    norm: Norm = "batch",
    activation: Activation = "relu",
) -> nn.Sequential:
    """Stages of `blocks` residual blocks, each stage halving the image; a linear map to the code, or from it.

    `channels` counts feature maps from the image's side, one entry a stage. A decoder runs the stages backwards and
    doubles by nearest neighbours. Weights start as torch's.
    """
    if isinstance(out, int) and not isinstance(inp, int):
        return _encoder(inp, out, channels, blocks, norm, activation)
    if isinstance(inp, int) and not isinstance(out, int):
        return _decoder(inp, out, channels, blocks, norm, activation)
    raise misfit("resnet", "an image to a vector or a vector to an image", inp, out)


class Residual(nn.Module):
    """x + F(x), F two 3x3 convolutions; a 1x1 convolution carries x where the number of feature maps changes."""

    def __init__(self, inp: int, out: int, norm: Norm, activation: Activation) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *_before(inp, norm, activation), nn.Conv2d(inp, out, 3, padding=1),
            *_before(out, norm, activation), nn.Conv2d(out, out, 3, padding=1),
        )  # fmt: skip
        self.carry = nn.Identity() if inp == out else nn.Conv2d(inp, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        carried: Tensor = self.carry(x)
        return carried + self.change(x)


def _encoder(
    image: Image, code: int, channels: list[int], blocks: int, norm: Norm, activation: Activation
) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))
    layers: list[nn.Module] = [nn.Conv2d(image[0], channels[0], 3, padding=1)]
    for (a, b), (large, small) in zip(pairwise([channels[0], *channels]), pairwise(sides), strict=True):
        layers += _stage(a, b, blocks, norm, activation)
        layers += [nn.AvgPool2d(2, ceil_mode=True)] if large != small else []
    height, width = sides[-1]
    layers += [*_before(channels[-1], norm, activation), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels[-1] * height * width, code))


def _decoder(
    code: int, image: Image, channels: list[int], blocks: int, norm: Norm, activation: Activation
) -> nn.Sequential:
    sides = halvings(image[1:], len(channels))[::-1]
    widths = [*reversed(channels), channels[0]]
    height, width = sides[0]
    layers: list[nn.Module] = [
        nn.Linear(code, widths[0] * height * width),
        nn.Unflatten(1, (widths[0], height, width)),
    ]
    for (a, b), (small, large) in zip(pairwise(widths), pairwise(sides), strict=True):
        layers += [nn.Upsample(large)] if large != small else []
        layers += _stage(a, b, blocks, norm, activation)
    layers += _before(widths[-1], norm, activation)
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], image[0], 3, padding=1))


def _stage(inp: int, out: int, blocks: int, norm: Norm, activation: Activation) -> list[nn.Module]:
    return [Residual(inp if i == 0 else out, out, norm, activation) for i in range(blocks)]


def _before(channels: int, norm: Norm, activation: Activation) -> list[nn.Module]:
    """What stands before a convolution; not in place, for what it reads is also carried past it."""
    normalize: list[nn.Module] = [nn.BatchNorm2d(channels)] if norm == "batch" else []
    active = ACTIVATIONS[activation]()
    if norm == "none" and isinstance(active, nn.ReLU | nn.LeakyReLU):
        active.inplace = False
    return [*normalize, active]

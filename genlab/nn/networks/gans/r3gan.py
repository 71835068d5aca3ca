"""R3GAN's networks: residual blocks without normalization, grouped convolutions, bilinear resampling.

A block is an inverted bottleneck: 1x1 to more channels, 3x3 in groups, 1x1 back, with leaky ReLUs between. Its last
layer starts at 0 and the others are scaled by the number of blocks (Fixup), which replaces normalization.

Huang, Gokaslan, Kuleshov & Tompkin, The GAN is dead; long live the GAN! A Modern GAN Baseline, NeurIPS 2024
(arXiv:2501.05441), sections 4.2 and 4.3. Fixup: Zhang, Dauphin & Ma, ICLR 2019 (arXiv:1901.09321).
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from genlab.nn.layers.shapes import Image, Size, misfit
from genlab.nn.layers.stylegan2_layers import Double, Halve
from genlab.nn.networks.gans.dcgan import smallest_map
from genlab.registry import NETWORKS, PositiveInt

L = TypeVar("L", nn.Linear, nn.Conv2d)
SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through a leaky ReLU (He et al. 2015)
LAYERS = 3  # with weights, in a block


@NETWORKS("r3gan_generator")
def r3gan_generator(
    inp: Size,
    out: Size,
    base_channels: PositiveInt = 32,
    max_channels: PositiveInt = 128,
    blocks: PositiveInt = 1,
    expansion: PositiveInt = 2,
    group_width: PositiveInt = 16,
) -> nn.Sequential:
    """Code (N, inp) to image logits (N, C, H, W), whose tanh is the image.

    `base_channels` feature maps next to the image, doubled at each downsampling up to `max_channels`; `blocks` in each
    size. Inside a block there are `expansion` times as many maps, in groups of about `group_width`.
    """
    if not isinstance(inp, int) or isinstance(out, int):
        raise misfit("r3gan_generator", "a vector to an image", inp, out)
    sides, channels = _stages("r3gan_generator", out, base_channels, max_channels)
    channels.reverse()

    stage = partial(_stage, blocks, expansion, group_width, blocks * len(channels))
    layers: list[nn.Module] = [Basis(inp, channels[0], sides), *stage(channels[0])]
    for before, after in pairwise(channels):
        layers += [*_changed(before, after), Double(), *stage(after)]
    return nn.Sequential(*layers, scaled(nn.Conv2d(channels[-1], out[0], 1, bias=False)))


@NETWORKS("r3gan_discriminator")
def r3gan_discriminator(
    inp: Size,
    out: Size,
    base_channels: PositiveInt = 32,
    max_channels: PositiveInt = 128,
    blocks: PositiveInt = 1,
    expansion: PositiveInt = 2,
    group_width: PositiveInt = 16,
) -> nn.Sequential:
    """Images (N, C, H, W) to logits (N, out): the mirror image of `r3gan_generator`, with the same parameters."""
    if isinstance(inp, int) or not isinstance(out, int):
        raise misfit("r3gan_discriminator", "an image to a vector", inp, out)
    sides, channels = _stages("r3gan_discriminator", inp, base_channels, max_channels)

    stage = partial(_stage, blocks, expansion, group_width, blocks * len(channels))
    layers: list[nn.Module] = [scaled(nn.Conv2d(inp[0], channels[0], 1, bias=False))]
    for before, after in pairwise(channels):
        layers += [*stage(before), Halve(), *_changed(before, after)]
    return nn.Sequential(*layers, *stage(channels[-1]), Projection(channels[-1], out, sides))


class Block(nn.Module):
    """x + F(x) of feature maps (N, channels, H, W); `depth` is the number of blocks in the network."""

    def __init__(self, channels: int, expansion: int, group_width: int, depth: int) -> None:
        super().__init__()
        inner, gain = channels * expansion, GAIN * depth ** (-1 / (2 * LAYERS - 2))
        groups = next(n for n in range(max(1, inner // group_width), 0, -1) if inner % n == 0)
        self.residual = nn.Sequential(
            scaled(nn.Conv2d(channels, inner, 1), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            scaled(nn.Conv2d(inner, channels, 1, bias=False), 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.residual(x)
        return x + change


class Basis(nn.Module):
    """A code (N, inp) to feature maps (N, channels, *sides): each channel is a learned map times a linear function."""

    def __init__(self, inp: int, channels: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, *sides))
        self.linear = scaled(nn.Linear(inp, channels, bias=False))

    def forward(self, code: Tensor) -> Tensor:
        return self.linear(code)[:, :, None, None] * self.basis


class Projection(nn.Module):
    """The mirror image of `Basis`: feature maps (N, channels, *sides) to (N, out), each channel weighed by its map.

    As a sum of products: a convolution with a group for each channel has a slow second derivative.
    """

    def __init__(self, channels: int, out: int, sides: tuple[int, int]) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, *sides) / math.sqrt(math.prod(sides)))
        self.linear = scaled(nn.Linear(channels, out, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear((x * self.basis).sum((2, 3)))
        return found


def _stage(blocks: int, expansion: int, group_width: int, depth: int, channels: int) -> list[nn.Module]:
    return [Block(channels, expansion, group_width, depth) for _ in range(blocks)]


def scaled(layer: L, gain: float = 1.0) -> L:
    """The layer with weights from N(0, gain²/fan-in) and biases 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _changed(before: int, after: int) -> list[nn.Module]:
    """A 1x1 convolution, if the number of channels changes."""
    return [] if before == after else [scaled(nn.Conv2d(before, after, 1, bias=False))]


def _stages(network: str, image: Image, base: int, largest: int) -> tuple[tuple[int, int], list[int]]:
    """The sides of the smallest map, and the channels at each size, from the image on."""
    sides, count = smallest_map(network, image)
    return sides, [min(base * 2**level, largest) for level in range(count + 1)]

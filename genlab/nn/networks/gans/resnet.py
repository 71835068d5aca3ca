"""Residual generator and discriminator: pairs of 3x3 convolutions with a 1x1 convolution as shortcut.

Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017 (arXiv:1704.00028), appendix F; Miyato et al.,
Spectral Normalization for GANs, ICLR 2018 (arXiv:1802.05957), tables 3 to 6: feature maps double at each
downsampling, as in their networks for 48 to 128 pixels.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from genlab.nn.layers.minibatch import Minibatch, logit_head
from genlab.nn.layers.shapes import Size, misfit
from genlab.nn.layers.spectral import spectral
from genlab.nn.networks.gans.dcgan import smallest_map
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("resnet_generator")
def resnet_generator(inp: Size, out: Size, base_channels: PositiveInt = 64) -> nn.Sequential:
    """Code (N, inp) to image logits (N, C, H, W), whose tanh is the image; `base_channels` feature maps next to it."""
    if not isinstance(inp, int) or isinstance(out, int):
        raise misfit("resnet_generator", "a vector to an image", inp, out)
    (height, width), doublings = smallest_map("resnet_generator", out)
    channels = [base_channels * 2**i for i in reversed(range(doublings + 1))]
    layers: list[nn.Module] = [
        nn.Linear(inp, channels[0] * height * width),
        nn.Unflatten(1, (channels[0], height, width)),
        *(Block(a, b, "up") for a, b in pairwise(channels)),
        nn.BatchNorm2d(base_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(base_channels, out[0], 3, padding=1),
    ]
    return _initialized(nn.Sequential(*layers))


@NETWORKS("resnet_discriminator")
def resnet_discriminator(
    inp: Size,
    out: Size,
    base_channels: PositiveInt = 64,
    norm: Literal["spectral", "none"] = "spectral",
    minibatch: Minibatch = "none",
) -> nn.Sequential:
    """Images (N, C, H, W) in [-1, 1] to logits (N, out); features are summed over positions before the last layer."""
    if isinstance(inp, int) or not isinstance(out, int):
        raise misfit("resnet_discriminator", "an image to a vector", inp, out)
    _, num_downsamples = smallest_map("resnet_discriminator", inp)
    channels = [base_channels * 2**i for i in range(num_downsamples)]
    layers: list[nn.Module] = [
        Block(inp[0], base_channels, "first"),
        *(Block(a, b, "down") for a, b in pairwise(channels)),
        Block(channels[-1], channels[-1], "same"),
        nn.ReLU(inplace=True),
        Sum(),
        *logit_head(channels[-1], out, minibatch),
    ]
    network = _initialized(nn.Sequential(*layers))
    return spectral(network) if norm == "spectral" else network


class Block(nn.Module):
    """F(x) + shortcut(x) at twice (`up`), half (`down`, `first`) or the same size; only `up` has batch norm."""

    def __init__(self, inp: int, out: int, kind: Literal["up", "down", "same", "first"]) -> None:
        super().__init__()
        up, half = kind == "up", [nn.AvgPool2d(2)] if kind in ("down", "first") else []
        # not in place: the shortcut reads the same input; the first block has no ReLU on the image
        before: list[nn.Module] = [nn.BatchNorm2d(inp)] if up else []
        before += [nn.ReLU()] if kind != "first" else []
        inner = out if kind != "down" else inp
        self.residual = nn.Sequential(
            *before,
            *([nn.Upsample(scale_factor=2)] if up else []),
            nn.Conv2d(inp, inner, 3, padding=1),
            *([nn.BatchNorm2d(inner)] if up else []),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, out, 3, padding=1),
            *half,
        )
        shortcut: list[nn.Module] = [nn.Conv2d(inp, out, 1)] if inp != out or kind != "same" else []
        # a 1x1 convolution and resampling commute: the smaller map is cheaper
        self.shortcut = nn.Sequential(*half, *shortcut, *([nn.Upsample(scale_factor=2)] if up else []))

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(x)
        return shortcut + self.residual(x)


class Sum(nn.Module):
    """Feature maps (N, C, H, W) to their sums (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def _initialized(network: nn.Sequential) -> nn.Sequential:
    """Glorot's uniform initialization, √2 times as wide for 3x3 convolutions in blocks (code of the SNGAN authors)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    for block in network:
        for layer in block.residual if isinstance(block, Block) else []:
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight, math.sqrt(2))
    return network

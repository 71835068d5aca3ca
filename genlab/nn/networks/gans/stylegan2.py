"""StyleGAN2's networks: a mapping to styles, a generator with skip connections, a residual discriminator (figure 7).

Karras, Laine, Aittala, Hellsten, Lehtinen & Aila, Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020
(arXiv:1912.04958).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from genlab.nn.layers.minibatch import MinibatchDeviation
from genlab.nn.layers.shapes import Image
from genlab.nn.layers.stylegan2_layers import Double, EqualConv2d, EqualLinear, ModulatedConv, StyledConv, leaky
from genlab.nn.networks.gans.dcgan import smallest_map


def levels(image: Image, base: int, largest: int, network: str = "stylegan2") -> list[tuple[int, tuple[int, int]]]:
    """Channels and sides of each level, the smallest first: base / S channels at side S, `largest` at most.

    ConfigError, naming a size that works, if no small map can be doubled to the image.
    """
    (height, width), doublings = smallest_map(network, image)
    sides = [(height * 2**level, width * 2**level) for level in range(doublings + 1)]
    return [(max(1, min(base // max(side), largest)), side) for side in sides]


class Mapping(nn.Module):
    """z to w: normalization, then `layers` fully connected layers with a hundredth of the learning rate."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(dim, dim, rate=0.01) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):  # small, and the precision of every layer depends on it
            w = z.float() * (z.float().square().mean(1, keepdim=True) + 1e-8).rsqrt()
            for layer in self.layers:
                w = leaky(layer(w))
            return w


class Synthesis(nn.Module):
    """Styles, one for each layer, to an image: each level adds its own part to the doubled image of the level below."""

    def __init__(self, image: Image, style_dim: int, base: int, largest: int) -> None:
        super().__init__()
        stages = levels(image, base, largest)
        count, side = stages[0]
        self.constant = nn.Parameter(torch.randn(1, count, *side))
        self.convs = nn.ModuleList([StyledConv(count, count, side, style_dim)])
        self.images = nn.ModuleList([ToImage(count, image[0], style_dim)])
        for (before, _), (count, side) in pairwise(stages):
            self.convs += [
                StyledConv(before, count, side, style_dim, double=True),
                StyledConv(count, count, side, style_dim),
            ]
            self.images.append(ToImage(count, image[0], style_dim))
        self.twice = Double()
        self.styles = len(self.convs) + 1

    def forward(self, styles: Tensor, fixed: bool = False) -> Tensor:
        """Styles (N, L, D) to images (N, C, H, W), about [-1, 1]; with `fixed`, the noise is the same for all."""
        w = styles.unbind(1)
        x = self.convs[0](self.constant.expand(len(styles), -1, -1, -1), w[0], fixed)
        image = self.images[0](x, w[1])
        for level, to_image in enumerate(self.images[1:], 1):
            last = 2 * level  # a level's image has the style of the layer after it
            x = self.convs[last - 1](x, w[last - 1], fixed)
            x = self.convs[last](x, w[last], fixed)
            image = self.twice(image) + to_image(x, w[last + 1])
        return image


class ToImage(nn.Module):
    """A level's part of the image: a 1x1 convolution, modulated but not demodulated; in float32."""

    def __init__(self, inp: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inp, channels, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.conv(x, w).float() + self.bias[:, None, None]


class DownBlock(nn.Module):
    """A residual block of the discriminator that halves the map: (F(x) + shortcut(x)) / √2."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.same = EqualConv2d(inp, inp, 3)
        self.halve = EqualConv2d(inp, out, 3, halve=True)
        self.shortcut = EqualConv2d(inp, out, 1, bias=False, halve=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(x)
        return (leaky(self.halve(leaky(self.same(x)))) + shortcut) / math.sqrt(2)


class Discriminator(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to logits (N, 1)."""

    def __init__(self, image: Image, base: int, largest: int) -> None:
        super().__init__()
        stages = levels(image, base, largest)[::-1]
        counts = [count for count, _ in stages]
        (height, width), last = stages[-1][1], counts[-1]
        self.from_image = EqualConv2d(image[0], counts[0], 1)
        self.blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(counts))
        self.deviation = MinibatchDeviation(even=True)
        self.mix = EqualConv2d(last + 1, last, 3)
        self.hidden = EqualLinear(last * height * width, last)
        self.logit = EqualLinear(last, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = leaky(self.from_image(image))
        for block in self.blocks:
            x = block(x)
        x = leaky(self.mix(self.deviation(x)))
        logits: Tensor = self.logit(leaky(self.hidden(x.flatten(1))))
        return logits

"""The networks of progressive growing: each has a layer to or from images at every size, so that it can be cut there.

Pixel norm in the generator, the standard deviation over the minibatch in the discriminator, equalized learning rates in
both.

Karras, Aila, Laine & Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018
(arXiv:1710.10196): table 2, sections 2 to 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from genlab.nn.layers.minibatch import MinibatchDeviation
from genlab.nn.layers.shapes import Size, misfit
from genlab.nn.layers.stylegan2_layers import EqualConv2d, EqualLinear, leaky
from genlab.nn.networks.gans.stylegan2 import levels
from genlab.registry import NETWORKS, PositiveInt

# For each level, from the smallest, the weight α in [0, 1] of its own layers; 1 - α is that of the level below. None
# is 1 without computing the level below. Levels that are left out are not computed. The first has no level below.
Fades = Sequence[Tensor | None]


@NETWORKS("progressive_generator")
class ProgressiveGenerator(nn.Module):
    """Codes (N, inp) to image logits (N, C, H, W), or to smaller ones if there are fewer `fades` than levels.

    Feature maps at side S: `channel_base` / S, at most `channel_max`. Without `fades`, all levels, fully grown.
    """

    def __init__(self, inp: Size, out: Size, channel_base: PositiveInt = 8192, channel_max: PositiveInt = 512) -> None:
        super().__init__()
        if not isinstance(inp, int) or isinstance(out, int):
            raise misfit("progressive_generator", "a vector to an image", inp, out)
        stages = levels(out, channel_base, channel_max, "progressive_generator")
        self.sides = [sides for _, sides in stages]
        counts = [count for count, _ in stages]
        self.first = EqualLinear(inp, counts[0] * self.sides[0][0] * self.sides[0][1])
        self.same = EqualConv2d(counts[0], counts[0], 3)
        pairs = [nn.ModuleList([EqualConv2d(a, b, 3), EqualConv2d(b, b, 3)]) for a, b in pairwise(counts)]
        self.blocks = nn.ModuleList(pairs)
        self.images = nn.ModuleList(EqualConv2d(count, out[0], 1) for count in counts)

    def forward(self, code: Tensor, fades: Fades | None = None) -> Tensor:
        fades = [None] * len(self.sides) if fades is None else fades
        start = max(level for level, fade in enumerate(fades) if fade is None)
        features = self.features(code, len(fades))[start:]
        image: Tensor = self.images[start](features[0]).float()
        for x, to_image, fade in zip(features[1:], self.images[start + 1 :], fades[start + 1 :], strict=False):
            assert fade is not None
            image = torch.lerp(twice(image), to_image(x).float(), fade)  # figure 2
        return image

    def features(self, code: Tensor, count: int) -> list[Tensor]:
        """The feature maps of the first `count` levels."""
        vector = leaky(self.first(pixel_norm(code)))
        x = pixel_norm(vector.unflatten(1, (-1, *self.sides[0])))
        found = [pixel_norm(leaky(self.same(x)))]
        for block in self.blocks[: count - 1]:
            x = twice(found[-1])
            for layer in block:  # type: ignore[attr-defined]
                x = pixel_norm(leaky(layer(x)))
            found.append(x)
        return found


@NETWORKS("progressive_discriminator")
class ProgressiveDiscriminator(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to logits (N, out), or smaller images if there are fewer `fades` than levels."""

    def __init__(self, inp: Size, out: Size, channel_base: PositiveInt = 8192, channel_max: PositiveInt = 512) -> None:
        super().__init__()
        if isinstance(inp, int) or not isinstance(out, int):
            raise misfit("progressive_discriminator", "an image to a vector", inp, out)
        stages = levels(inp, channel_base, channel_max, "progressive_discriminator")
        self.sides = [sides for _, sides in stages]
        counts = [count for count, _ in stages]
        height, width = self.sides[0]
        self.images = nn.ModuleList(EqualConv2d(inp[0], count, 1) for count in counts)
        pairs = [nn.ModuleList([EqualConv2d(b, b, 3), EqualConv2d(b, a, 3)]) for a, b in pairwise(counts)]
        self.blocks = nn.ModuleList(pairs)
        self.deviation = MinibatchDeviation(even=True)
        self.same = EqualConv2d(counts[0] + 1, counts[0], 3)
        self.hidden = EqualLinear(counts[0] * height * width, counts[0])
        self.logit = EqualLinear(counts[0], out)

    def forward(self, image: Tensor, fades: Fades | None = None) -> Tensor:
        fades = [None] * len(self.sides) if fades is None else fades
        x = leaky(self.images[len(fades) - 1](image))
        for level in range(len(fades) - 1, 0, -1):
            for layer in self.blocks[level - 1]:  # type: ignore[attr-defined]
                x = leaky(layer(x))
            x, fade = avg_pool2d(x, 2), fades[level]
            if fade is not None:
                image = avg_pool2d(image, 2)
                x = torch.lerp(leaky(self.images[level - 1](image)), x, fade.to(x.dtype))
        x = leaky(self.same(self.deviation(x)))
        logits: Tensor = self.logit(leaky(self.hidden(x.flatten(1))))
        return logits


def pixel_norm(x: Tensor) -> Tensor:
    """Features (N, C, ...) divided by their root mean square over channels, at each position: section 4.2."""
    square = x.float().square().mean(1, keepdim=True)
    return x * (square + 1e-8).rsqrt().to(x.dtype)


def twice(image: Tensor) -> Tensor:
    """Maps of twice the size: the nearest pixel."""
    return interpolate(image, scale_factor=2.0, mode="nearest")

"""Gated PixelCNN: an autoregressive model of a map, p(x) = ∏ᵢ p(xᵢ | x₁, ..., xᵢ₋₁), row by row, of symbols or pixels.

Two stacks of convolutions see the past: the vertical stack all rows above, the horizontal stack the positions to the
left. Together they leave no blind spot.

van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016 (arXiv:1606.05328): section 2
and figure 2. Instead of masking weights, the kernels hold only the unmasked ones, and the map is padded accordingly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Lt, MinLen
from torch import Tensor, nn
from torch.nn.functional import pad

from genlab.core import rng
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt

Reach = Annotated[int, Gt(0), Lt(16)]  # positions to each side that a kernel sees
Dilations = Annotated[tuple[PositiveInt, ...], MinLen(1)]


def gate(features: Tensor) -> Tensor:
    """tanh(a) ⊙ σ(b) for the two halves a, b of the channels: equation 2."""
    a, b = features.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks.

    The first layer (mask A) does not see a position's own symbol. Later layers (mask B) see the features of their own
    position, which depend only on the past, and `reach` positions to each side, `dilation` apart.
    """

    def __init__(self, inp: int, channels: int, reach: int, first: bool, dilation: int = 1) -> None:
        super().__init__()
        self.reach, self.first = reach * dilation, first
        own = 0 if first else 1
        self.vertical = nn.Conv2d(inp, 2 * channels, (reach + own, 2 * reach + 1), dilation=dilation)
        self.horizontal = nn.Conv2d(inp, 2 * channels, (1, reach + own), dilation=dilation)
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def keep_variance(self) -> None:
        """Initial weights N(0, gain²/fan_in) with gains that make up for what gates take away.

        torch's own have a gain of 0.6: behind six layers of the vertical stack, nothing is left of the pixels.
        """
        gains = {self.vertical: 2.0, self.horizontal: 1.4, self.link: 1.0, self.output: 1.4}
        for convolution, gain in gains.items():
            nn.init.normal_(convolution.weight, 0, gain / math.sqrt(convolution.weight[0].numel()))

    def vertical_stack(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to the next layer's features, and the horizontal stack's input from above (N, 2C, H, W)."""
        seen = self.vertical(pad(v, (self.reach, self.reach, self.reach, 0)))
        seen = seen[:, :, : v.shape[2]]  # mask A: kernel and padding add one row below the map
        return gate(seen), self.link(seen)

    def horizontal_stack(self, h: Tensor, link: Tensor) -> Tensor:
        """Features of any rows and the first columns of the map, with `link` of the same positions."""
        seen = self.horizontal(pad(h, (self.reach, 0)))[..., : h.shape[3]] + link
        out: Tensor = self.output(gate(seen))
        return out if self.first else h + out


class GatedStacks(nn.Module):
    """Maps (N, inp, H, W), or symbols (N, H, W) with an `embedding`, to (N, out, H, W).

    The output at a position is a function of the positions before it.
    """

    def __init__(
        self,
        inp: int,
        out: int,
        channels: int,
        layers: int,
        first: int,
        reach: int,
        dilations: Sequence[int] = (1,),
        embedding: nn.Embedding | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        spread = [dilations[i % len(dilations)] for i in range(layers - 1)]
        self.past = first + reach * sum(spread)  # receptive field: rows up, and positions to the left
        self.layers = nn.ModuleList([GatedLayer(inp, channels, first, first=True)])
        self.layers.extend(GatedLayer(channels, channels, reach, first=False, dilation=each) for each in spread)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(inplace=True), nn.Conv2d(2 * channels, out, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self._embed(x)
        return self._horizontal(x, self._vertical(x))

    def _embed(self, x: Tensor) -> Tensor:
        """The input of the first layer, (N, inp, H, W)."""
        return x if self.embedding is None else self.embedding(x).movedim(-1, 1)

    def _vertical(self, v: Tensor) -> list[Tensor]:
        links = []
        for layer in self.layers:
            assert isinstance(layer, GatedLayer)
            v, link = layer.vertical_stack(v)
            links.append(link)
        return links

    def _horizontal(self, h: Tensor, links: list[Tensor]) -> Tensor:
        for layer, link in zip(self.layers, links, strict=True):
            assert isinstance(layer, GatedLayer)
            h = layer.horizontal_stack(h, link)
        out: Tensor = self.head(h).float()
        return out

    def fill(self, x: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """The map x (N, ..., H, W), filled in place, position by position, with `draw` of the output (N, out) there.

        Only the receptive field of a position is computed, the vertical stack once per row.
        """
        height, width = x.shape[-2:]
        for i in range(height):
            above = self._embed(x[..., max(0, i - self.past) : i + 1, :])
            links = [link[:, :, -1:] for link in self._vertical(above)]
            for j in range(width):
                seen = slice(max(0, j - self.past), j + 1)  # mask A: the last of these is not seen
                row = self._embed(x[..., i : i + 1, seen])
                x[..., i, j] = draw(self._horizontal(row, [link[..., seen] for link in links])[:, :, 0, -1])
        return x


class PixelCNN(GatedStacks):
    """Maps of symbols, int64 (N, H, W), to the logits (N, symbols, H, W) of p(xᵢ | x₁, ..., xᵢ₋₁)."""

    def __init__(
        self, symbols: int, sides: tuple[int, int], channels: int, layers: int, first: int, reach: int
    ) -> None:
        super().__init__(channels, symbols, channels, layers, first, reach, embedding=nn.Embedding(symbols, channels))
        self.sides = sides

    def sample(self, n: int) -> Tensor:
        """n maps (n, H, W), int64."""
        index = torch.zeros(n, *self.sides, dtype=torch.long, device=next(self.parameters()).device)
        return self.fill(index, lambda logits: rng.categorical(logits.softmax(1)))


@NETWORKS("pixelcnn")
def pixelcnn(
    inp: Size, out: Size, channels: PositiveInt = 64, layers: PositiveInt = 8, first: Reach = 3, reach: Reach = 1
) -> PixelCNN:
    """A map of symbols to logits, both of size (symbols, H, W).

    Each layer has `channels` feature maps; the first one sees `first` positions to each side, later ones `reach`.
    """
    if isinstance(inp, int) or inp != out:
        raise misfit("pixelcnn", "a map of symbols to logits of the same shape", inp, out)
    return PixelCNN(inp[0], inp[1:], channels, layers, first, reach)


@NETWORKS("gated_pixelcnn")
def gated_pixelcnn(
    inp: Size,
    out: Size,
    channels: PositiveInt = 32,
    layers: PositiveInt = 6,
    first: Reach = 3,
    reach: Reach = 1,
    dilations: Dilations = (1, 2, 4),
) -> GatedStacks:
    """Images to the parameters of each pixel's distribution given the pixels before it.

    Keys as for `pixelcnn`; layers after the first take their dilations from the list in turn.
    """
    if isinstance(inp, int) or isinstance(out, int) or inp[1:] != out[1:]:
        raise misfit("gated_pixelcnn", "an image to a map of the same sides", inp, out)
    stacks = GatedStacks(inp[0], out[0], channels, layers, first, reach, dilations)
    for layer in stacks.layers:
        assert isinstance(layer, GatedLayer)
        layer.keep_variance()
    return stacks

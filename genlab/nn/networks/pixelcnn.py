"""Gated PixelCNN: an autoregressive model of a map of symbols, p(x) = ∏ᵢ p(xᵢ | x₁, ..., xᵢ₋₁), row by row.

Two stacks of convolutions see the past: the vertical stack all rows above, the horizontal stack the positions to the
left. Together they leave no blind spot.

van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016 (arXiv:1606.05328): section 2
and figure 2. Instead of masking weights, the kernels hold only the unmasked ones, and the map is padded accordingly.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import pad

from genlab.core import rng
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt

Reach = Annotated[int, Gt(0), Lt(16)]  # positions to each side that a kernel sees


def gate(features: Tensor) -> Tensor:
    """tanh(a) ⊙ σ(b) for the two halves a, b of the channels: equation 2."""
    a, b = features.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks.

    The first layer (mask A) does not see a position's own symbol. Later layers (mask B) see the features of their own
    position, which depend only on the past.
    """

    def __init__(self, channels: int, reach: int, first: bool) -> None:
        super().__init__()
        self.reach, self.first = reach, first
        own = 0 if first else 1
        self.vertical = nn.Conv2d(channels, 2 * channels, (reach + own, 2 * reach + 1))
        self.horizontal = nn.Conv2d(channels, 2 * channels, (1, reach + own))
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

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


class PixelCNN(nn.Module):
    """Maps of symbols, int64 (N, H, W), to the logits (N, symbols, H, W) of p(xᵢ | x₁, ..., xᵢ₋₁)."""

    def __init__(
        self, symbols: int, sides: tuple[int, int], channels: int, layers: int, first: int, reach: int
    ) -> None:
        super().__init__()
        self.sides = sides
        self.past = first + (layers - 1) * reach  # receptive field: rows up, and positions to the left
        self.embedding = nn.Embedding(symbols, channels)
        reaches = [first, *[reach] * (layers - 1)]
        self.layers = nn.ModuleList(GatedLayer(channels, each, first=not i) for i, each in enumerate(reaches))
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(inplace=True), nn.Conv2d(2 * channels, symbols, 1)
        )

    def forward(self, index: Tensor) -> Tensor:
        x = self._embed(index)
        return self._horizontal(x, self._vertical(x))

    def _embed(self, index: Tensor) -> Tensor:
        features: Tensor = self.embedding(index)
        return features.movedim(-1, 1)

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
        logits: Tensor = self.head(h).float()
        return logits

    def sample(self, n: int) -> Tensor:
        """n maps (n, H, W), int64, sampled position by position. Only the receptive field of a position is computed,
        the vertical stack once per row.
        """
        height, width = self.sides
        index = torch.zeros(n, height, width, dtype=torch.long, device=self.embedding.weight.device)
        for i in range(height):
            above = self._embed(index[:, max(0, i - self.past) : i + 1])
            links = [link[:, :, -1:] for link in self._vertical(above)]
            for j in range(width):
                seen = slice(max(0, j - self.past), j + 1)  # mask A: the last of these is not seen
                row = self._embed(index[:, i : i + 1, seen])
                logits = self._horizontal(row, [link[..., seen] for link in links])[:, :, 0, -1]
                index[:, i, j] = _categorical(logits.softmax(1))
        return index


def _categorical(p: Tensor) -> Tensor:
    """One symbol from each row of probabilities (N, symbols), by inverting the cumulative distribution."""
    cumulative = p.cumsum(1)
    u = rng.uniform(len(p), 1, like=p) * cumulative[:, -1:]
    return (cumulative <= u).sum(1).clamp_(max=p.shape[1] - 1)


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

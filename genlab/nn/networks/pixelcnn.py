"""Gated PixelCNN: the law of a map of symbols as a product over its places, each given those before it.

p(x) = ∏ᵢ p(xᵢ | x₁, ..., xᵢ₋₁), row by row. Two stacks of convolutions see the past: the vertical one all rows
above, the horizontal one the places to the left; together they leave no blind spot.

van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016 (arXiv:1606.05328): section 2
and figure 2. Its masks only set weights to zero: here the kernels hold the other weights alone, and the map is
padded on the side of the past.
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

Reach = Annotated[int, Gt(0), Lt(16)]  # places to each side that a kernel sees


def gate(features: Tensor) -> Tensor:
    """y = tanh(a) ⊙ σ(b) of the two halves of the channels: equation 2."""
    a, b = features.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks.

    The first (mask A) does not see a place's own symbol; later ones (mask B) look at their own place too, whose
    features know only the past.
    """

    def __init__(self, width: int, reach: int, first: bool) -> None:
        super().__init__()
        self.reach, self.first = reach, first
        own = 0 if first else 1
        self.vertical = nn.Conv2d(width, 2 * width, (reach + own, 2 * reach + 1))
        self.horizontal = nn.Conv2d(width, 2 * width, (1, reach + own))
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.leave = nn.Conv2d(width, width, 1)

    def down(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical stack: (N, C, H, W) to the next layer's, and what the horizontal stack takes (N, 2C, H, W)."""
        seen = self.vertical(pad(v, (self.reach, self.reach, self.reach, 0)))
        seen = seen[:, :, : v.shape[2]]  # mask A: kernel and padding give a row too many, that below the map
        return gate(seen), self.link(seen)

    def along(self, h: Tensor, link: Tensor) -> Tensor:
        """The horizontal stack, on any rows and the first columns of the map, with what lies above them."""
        seen = self.horizontal(pad(h, (self.reach, 0)))[..., : h.shape[3]] + link
        left: Tensor = self.leave(gate(seen))
        return left if self.first else h + left


class PixelCNN(nn.Module):
    """Maps of `symbols` symbols, int64 (N, H, W), to logits (N, symbols, H, W) of each place given those before."""

    def __init__(self, symbols: int, sides: tuple[int, int], width: int, layers: int, first: int, reach: int) -> None:
        super().__init__()
        self.sides = sides
        self.past = first + (layers - 1) * reach  # how many rows up, and places to the left, anything is seen
        self.embedding = nn.Embedding(symbols, width)
        reaches = [first, *[reach] * (layers - 1)]
        self.layers = nn.ModuleList(GatedLayer(width, each, first=not i) for i, each in enumerate(reaches))
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, 2 * width, 1), nn.ReLU(inplace=True), nn.Conv2d(2 * width, symbols, 1)
        )

    def forward(self, index: Tensor) -> Tensor:
        x = self._embed(index)
        return self._across(x, self._links(x))

    def _embed(self, index: Tensor) -> Tensor:
        features: Tensor = self.embedding(index)
        return features.movedim(-1, 1)

    def _links(self, v: Tensor) -> list[Tensor]:
        links = []
        for layer in self.layers:
            assert isinstance(layer, GatedLayer)
            v, link = layer.down(v)
            links.append(link)
        return links

    def _across(self, h: Tensor, links: list[Tensor]) -> Tensor:
        for layer, link in zip(self.layers, links, strict=True):
            assert isinstance(layer, GatedLayer)
            h = layer.along(h, link)
        logits: Tensor = self.head(h).float()
        return logits

    def draw(self, n: int) -> Tensor:
        """n maps (n, H, W) from the law, place after place: no more is computed than what the place can see.

        The rows above are looked at once a row.
        """
        height, width = self.sides
        index = torch.zeros(n, height, width, dtype=torch.long, device=self.embedding.weight.device)
        for i in range(height):
            above = self._embed(index[:, max(0, i - self.past) : i + 1])
            links = [link[:, :, -1:] for link in self._links(above)]
            for j in range(width):
                seen = slice(max(0, j - self.past), j + 1)  # mask A: the last place of these is not looked at
                row = self._embed(index[:, i : i + 1, seen])
                logits = self._across(row, [link[..., seen] for link in links])[:, :, 0, -1]
                index[:, i, j] = _drawn(logits.softmax(1))
        return index


def _drawn(p: Tensor) -> Tensor:
    """One symbol from each row of probabilities (N, symbols): the first whose cumulative sum passes a random share."""
    cumulative = p.cumsum(1)
    u = rng.uniform(len(p), 1, like=p) * cumulative[:, -1:]
    return (cumulative <= u).sum(1).clamp_(max=p.shape[1] - 1)


@NETWORKS("pixelcnn")
def pixelcnn(
    inp: Size, out: Size, width: PositiveInt = 64, layers: PositiveInt = 8, first: Reach = 3, reach: Reach = 1
) -> PixelCNN:
    """A map of symbols to logits of each, (symbols, H, W) to (symbols, H, W).

    `width` counts feature maps; kernels of the first layer see `first` places to each side, later ones `reach`.
    """
    if isinstance(inp, int) or inp != out:
        raise misfit("pixelcnn", "a map of symbols to logits of the same shape", inp, out)
    return PixelCNN(inp[0], inp[1:], width, layers, first, reach)

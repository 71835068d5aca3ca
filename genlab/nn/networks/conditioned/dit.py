"""Diffusion transformer: attention over patches of the image, whose layers the conditions scale, shift and gate.

Peebles & Xie, Scalable Diffusion Models with Transformers, ICCV 2023 (arXiv:2212.09748), blocks of kind adaLN-Zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.nn.layers.conditions import NONE, ConditionEmbedding, Conditions, sinusoids, zeroed
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("dit")
class DiT(nn.Module):
    """Images (N, C, H, W) to images (N, C', H, W) of any size; the output is zero at first.

    Squares of `patch` pixels become vectors of `width` numbers, with their row and column added as sinusoids; then
    `layers` blocks of attention with `heads` heads and a perceptron of four times the width.
    """

    def __init__(
        self,
        inp: Size,
        out: Size,
        conditions: Conditions = NONE,
        patch: PositiveInt = 4,
        width: PositiveInt = 128,
        layers: PositiveInt = 6,
        heads: PositiveInt = 4,
    ) -> None:
        super().__init__()
        if isinstance(inp, int) or isinstance(out, int) or inp[1:] != out[1:]:
            raise misfit("dit", "an image to one of the same size", inp, out, "use film_mlp for vectors")
        if width % heads or width % 4:
            raise ConfigError(f"a width of {width} cannot be divided by 4 and among {heads} heads", "network name=dit",
                              "choose a width divisible by 4 and by the heads")  # fmt: skip
        self.patch, self.width = patch, width
        self.embedding = ConditionEmbedding(conditions, width)
        self.first = nn.Conv2d(inp[0], width, patch, stride=patch)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.modulation = nn.LayerNorm(width, elementwise_affine=False), zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, patch**2 * out[0]))

    def forward(
        self, x: Tensor, time: Tensor | None = None, label: Tensor | None = None, code: Tensor | None = None
    ) -> Tensor:
        embedding = F.silu(self.embedding(x, time, label, code))
        height, width = x.shape[2:]
        x = self.first(F.pad(x, (0, -width % self.patch, 0, -height % self.patch)))
        rows, columns = x.shape[2:]
        x = x.flatten(2).mT + positions(rows, columns, self.width, like=x)
        for block in self.blocks:
            x = block(x, embedding)
        shift, scale = self.modulation(embedding)[:, None].chunk(2, dim=2)
        x = self.last(self.norm(x) * (1 + scale) + shift)
        result: Tensor = F.pixel_shuffle(x.mT.unflatten(2, (rows, columns)), self.patch)
        return result[:, :, :height, :width]


class Block(nn.Module):
    """Tokens (N, L, width) plus gated attention, plus a gated perceptron; at first it changes nothing."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.qkv, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulation = zeroed(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(embedding)[:, None].chunk(6, dim=2)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.perceptron(self.norm2(x) * (1 + scale2) + shift2)

    def attention(self, x: Tensor) -> Tensor:
        """Self-attention of tokens (N, L, width)."""
        result: Tensor = self.mixed(attend(self.qkv(x), self.heads))
        return result


def attend(qkv: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Attention with `heads` heads: queries, keys and values (N, L, 3 · width) to (N, L, width).

    `mask`, bool (N, L), says which tokens are attended to; None: all.
    """
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    keys = None if mask is None else mask[:, None, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=keys).transpose(1, 2).flatten(2)


def positions(rows: int, columns: int, dim: int, like: Tensor) -> Tensor:
    """Sinusoids of the row and the column of each place, (rows · columns, dim)."""
    row, column = (
        sinusoids(torch.arange(count, device=like.device), dim // 2, scale=1).to(like.dtype)
        for count in (rows, columns)
    )
    return torch.cat([row[:, None].expand(-1, columns, -1), column.expand(rows, -1, -1)], 2).flatten(0, 1)

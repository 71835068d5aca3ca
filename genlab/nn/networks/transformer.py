"""A transformer of image patches, without conditions: the blocks of a vision transformer.

Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (arXiv:2010.11929).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.nn.networks.conditioned.dit import attend


class Transformer(nn.Module):
    """Tokens (N, L, width) to tokens: `layers` blocks, then layer norm."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        if width % heads or width % 4:
            raise ConfigError(f"a width of {width} cannot be divided by 4 and among {heads} heads", "a transformer",
                              "choose a width divisible by 4 and by the heads")  # fmt: skip
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask`, bool (N, L), says which tokens the others attend to; None: all."""
        for block in self.blocks:
            x = block(x, mask)
        result: Tensor = self.norm(x)
        return result


class Block(nn.Module):
    """Tokens plus attention, plus a perceptron of four times the width, each after layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.mixed(attend(self.qkv(self.norm1(x)), self.heads, mask))
        result: Tensor = x + self.perceptron(self.norm2(x))
        return result


def patches_of(image: Tensor, patch: int) -> Tensor:
    """Squares of `patch` pixels, (N, L, C · patch²), row by row; sides are first extended with zeros to multiples."""
    height, width = image.shape[2:]
    padded = F.pad(image, (0, -width % patch, 0, -height % patch))
    return F.unfold(padded, patch, stride=patch).mT


def image_of(patches: Tensor, patch: int, height: int, width: int) -> Tensor:
    """The images (N, C, height, width) of their patches; the inverse of `patches_of`."""
    padded = (height + -height % patch, width + -width % patch)
    return F.fold(patches.mT, padded, patch, stride=patch)[:, :, :height, :width]

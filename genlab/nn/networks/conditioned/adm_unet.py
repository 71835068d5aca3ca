"""U-Net of diffusion models: residual blocks with adaptive group norm, and attention where maps are small.

Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, NeurIPS 2021 (arXiv:2105.05233), section 3 (ADM).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.nn.layers.conditions import NONE, ConditionEmbedding, Conditions, FiLM, zeroed
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt

HEAD = 64  # channels of an attention head


@NETWORKS("adm_unet")
class ADMUNet(nn.Module):
    """Images (N, C, H, W) to images (N, C', H, W) of any size of two pixels or more; the output is zero at first.

    `channels` are the widths at each resolution, from the full one, each half of the one before; `blocks` residual
    blocks at each going down and one more going up. Maps up to `attention` pixels high and wide have self-attention
    after each block. The conditions are embedded in four times the first width. Squares of `patch` pixels become
    channels before the first convolution and pixels again after the last one, so that 2 makes it four times as cheap.
    """

    def __init__(
        self,
        inp: Size,
        out: Size,
        conditions: Conditions = NONE,
        channels: tuple[PositiveInt, ...] = (64, 128, 128),
        blocks: PositiveInt = 2,
        attention: PositiveInt = 16,
        patch: PositiveInt = 1,
    ) -> None:
        super().__init__()
        if isinstance(inp, int) or isinstance(out, int) or inp[1:] != out[1:] or max(inp[1:]) < 2:
            raise misfit("adm_unet", "an image to one of the same size", inp, out, "use film_mlp for points")
        dim = 4 * channels[0]
        self.patch = patch
        width, skips = channels[0], [channels[0]]
        attends = [-(-max(inp[1:]) // (patch * 2**level)) <= attention for level in range(len(channels))]
        self.embedding = ConditionEmbedding(conditions, dim)
        self.first = nn.Conv2d(patch**2 * inp[0], width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, target in enumerate(channels):
            if level:
                self.down.append(Resample(width, stride=2))
                skips.append(width)
            for _ in range(blocks):
                self.down.append(Block(width, target, dim, attends[level]))
                width = target
                skips.append(width)
        self.middle = nn.ModuleList([Block(width, width, dim, attends[-1]), Block(width, width, dim, False)])
        for level, target in reversed([*enumerate(channels)]):
            for _ in range(blocks + 1):
                self.up.append(Block(width + skips.pop(), target, dim, attends[level]))
                width = target
            if level:
                self.up.append(Resample(width))
        self.norm, self.last = group_norm(width), zeroed(nn.Conv2d(width, patch**2 * out[0], 3, padding=1))

    def forward(
        self, x: Tensor, time: Tensor | None = None, label: Tensor | None = None, code: Tensor | None = None
    ) -> Tensor:
        embedding = F.silu(self.embedding(x, time, label, code))
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % self.patch, 0, -height % self.patch))
        x = self.first(F.pixel_unshuffle(x, self.patch))
        skips = [x]
        for layer in self.down:
            x = layer(x, embedding)
            skips.append(x)
        for layer in self.middle:
            x = layer(x, embedding)
        for layer in self.up:
            if isinstance(layer, Resample):
                x = layer(F.interpolate(x, size=skips[-1].shape[2:]), embedding)
            else:
                x = layer(torch.cat([x, skips.pop()], dim=1), embedding)
        result: Tensor = F.pixel_shuffle(self.last(F.silu(self.norm(x))), self.patch)
        return result[:, :, :height, :width]


class Block(nn.Module):
    """x + conv(SiLU(FiLM(norm(conv(SiLU(norm(x)))))), then self-attention where asked for."""

    def __init__(self, inp: int, out: int, dim: int, attends: bool) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(inp), nn.Conv2d(inp, out, 3, padding=1)
        self.norm2, self.conv2 = group_norm(out), zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.film = FiLM(out, dim)
        self.skip = nn.Conv2d(inp, out, 1) if inp != out else nn.Identity()
        self.attention = Attention(out) if attends else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.film(self.norm2(self.conv1(F.silu(self.norm1(x)))), embedding)
        result: Tensor = self.attention(self.skip(x) + self.conv2(F.silu(h)))
        return result


class Attention(nn.Module):
    """Self-attention over the pixels, added to the input; at first it adds nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // HEAD if channels % HEAD == 0 else 1
        self.norm = group_norm(channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        # (N, 3C, H, W) to three of (N, heads, HW, C / heads)
        q, k, v = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(3, 4).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(x.shape)
        return x + self.out(mixed)


class Resample(nn.Module):
    """A convolution that halves the image, or smooths one just enlarged; the embedding is not read."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


class GroupNorm(nn.GroupNorm):
    """Group norm computed in float32, whatever the precision of the images, as in ADM's code.

    On a CPU, PyTorch's group norm of bfloat16 images in channels-last layout is four times as slow.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


def group_norm(channels: int) -> GroupNorm:
    """Group norm of up to 32 groups of at least four channels each, as evenly as the channels divide."""
    return GroupNorm(math.gcd(min(32, max(1, channels // 4)), channels), channels)

"""The U-Net of the diffusion workloads, written by hand: ADM's blocks, for gray images in squares of 2x2 pixels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UNet(nn.Module):
    """Images (N, 1, 32, 32) and `times` times of each to images: widths 32 and 64, one block down and two up at each.

    Parameters are in the order of genlab's `adm_unet`.
    """

    frequencies: Tensor

    def __init__(self, time_scale: float = 1000, times: int = 1, dim: int = 128) -> None:
        super().__init__()
        self.register_buffer("frequencies", time_scale * torch.logspace(0, -4, dim // 2 + 1)[:-1], persistent=False)
        self.time = nn.Sequential(nn.Linear(times * dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.first = nn.Conv2d(4, 32, 3, padding=1)
        self.down = nn.ModuleList([Block(32, 32, dim), nn.Conv2d(32, 32, 3, 2, padding=1), Block(32, 64, dim, True)])
        self.up = nn.ModuleList([
            Block(128, 64, dim, True), Block(96, 64, dim, True), nn.Conv2d(64, 64, 3, padding=1),
            Block(96, 32, dim), Block(64, 32, dim),
        ])  # fmt: skip
        self.middle = nn.ModuleList([Block(64, 64, dim, True), Block(64, 64, dim)])
        self.norm, self.last = nn.GroupNorm(8, 32), nn.Conv2d(32, 4, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        angles = time.reshape(-1, 1) * self.frequencies
        embedding = self.time(torch.cat([angles.cos(), angles.sin()], 1).view(len(x), -1))
        block1, halve, block2 = self.down
        a = self.first(F.pixel_unshuffle(x, 2))
        b = block1(a, embedding)
        c = halve(b)
        d = block2(c, embedding)
        x = self.middle[1](self.middle[0](d, embedding), embedding)
        up1, up2, smooth, up3, up4 = self.up
        x = up2(torch.cat([up1(torch.cat([x, d], 1), embedding), c], 1), embedding)
        x = smooth(F.interpolate(x, scale_factor=2))
        x = up4(torch.cat([up3(torch.cat([x, b], 1), embedding), a], 1), embedding)
        return F.pixel_shuffle(self.last(F.silu(self.norm(x))), 2)


class Block(nn.Module):
    """A residual block scaled and shifted by the embedding, and self-attention with one head where it `attends`."""

    def __init__(self, inp: int, out: int, dim: int, attends: bool = False) -> None:
        super().__init__()
        self.attends, self.narrows = attends, inp != out
        self.norm1, self.conv1 = norm(inp), nn.Conv2d(inp, out, 3, padding=1)
        self.norm2, self.conv2 = norm(out), nn.Conv2d(out, out, 3, padding=1)
        self.film = nn.Linear(dim, 2 * out)
        if self.narrows:
            self.skip = nn.Conv2d(inp, out, 1)
        if attends:
            self.norm3, self.qkv, self.mix = norm(out), nn.Conv2d(out, 3 * out, 1), nn.Conv2d(out, out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, 1)
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        h = self.conv2(F.silu(torch.addcmul(shift, h, 1 + scale)))
        x = (self.skip(x) if self.narrows else x) + h
        if not self.attends:
            return x
        q, k, v = self.qkv(self.norm3(x)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.mix(mixed.unflatten(2, x.shape[2:]))


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(min(32, channels // 4), channels), channels)

"""The VQ-VAE's encoder and decoder: strided 4x4 convolutions and residual blocks.

van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS 2017 (arXiv:1711.00937),
section 4.1. Layer order as in the authors' code (the VQ-VAE example of sonnet).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genlab.nn.layers.shapes import Image, Size, misfit
from genlab.registry import NETWORKS, NonNegativeInt, PositiveInt


class Residual(nn.Module):
    """x + W₂ relu(W₁ relu(x)): a 3x3 convolution, then a 1x1."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        # the first ReLU must not work in place: x is added again
        self.change = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.change(x)
        return changed


@NETWORKS("vqvae")
def vqvae(
    inp: Size,
    out: Size,
    base_channels: PositiveInt = 128,
    residual_channels: PositiveInt = 32,
    blocks: NonNegativeInt = 2,
) -> nn.Sequential:
    """Maps an image (C, H, W) to a code map (D, H/2ⁿ, W/2ⁿ), or such a map to an image, for any n ≥ 1.

    All layers have `base_channels` feature maps, but half as many next to the image and `residual_channels` inside the
    residual blocks. Weights have torch's initialization.
    """
    if isinstance(inp, int) or isinstance(out, int) or not _num_downsamples(inp, out):
        raise misfit("vqvae", "an image to a code map 2, 4, 8, ... times smaller, or back", inp, out)
    residual = [Residual(base_channels, residual_channels) for _ in range(blocks)]
    edge = [max(base_channels // 2, 1)] * (_num_downsamples(inp, out) - 1)  # channels between the image and the blocks
    if inp[1] > out[1]:
        layers: list[nn.Module] = []
        for a, b in pairwise([inp[0], *edge, base_channels]):
            layers += [nn.Conv2d(a, b, 4, 2, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(base_channels, base_channels, 3, padding=1), *residual, nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.Conv2d(base_channels, out[0], 1))
    layers = [nn.Conv2d(inp[0], base_channels, 3, padding=1), *residual]
    for a, b in pairwise([base_channels, *edge, out[0]]):
        layers += [nn.ReLU(inplace=True), nn.ConvTranspose2d(a, b, 4, 2, padding=1)]
    return nn.Sequential(*layers)


def _num_downsamples(inp: Image, out: Image) -> int:
    """How often the larger of the two must be halved to give the smaller; 0 if that is impossible."""
    large, small = max(inp[1:], out[1:]), min(inp[1:], out[1:])
    ratio = large[0] // small[0]
    fits = all(a == b * ratio for a, b in zip(large, small, strict=True))
    return ratio.bit_length() - 1 if fits and ratio & (ratio - 1) == 0 else 0

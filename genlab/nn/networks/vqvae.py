"""VQ-VAE's two networks: strided 4x4 convolutions and residual blocks between an image and a map of codes.

van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS 2017 (arXiv:1711.00937),
section 4.1; the order of layers is that of the authors' released code (sonnet's VQ-VAE example).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genlab.nn.layers.shapes import Image, Size, misfit
from genlab.registry import NETWORKS, NonNegativeInt, PositiveInt


class Residual(nn.Module):
    """x + W₂ relu(W₁ relu(x)): a 3x3 convolution, then a 1x1."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        # the first ReLU must leave x as it is, for the sum
        self.change = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.change(x)
        return changed


@NETWORKS("vqvae")
def vqvae(
    inp: Size, out: Size, width: PositiveInt = 128, residual_width: PositiveInt = 32, blocks: NonNegativeInt = 2
) -> nn.Sequential:
    """An image to a map whose sides are 1/2ⁿ of the image's, or such a map to an image, for any n ≥ 1.

    `width` counts feature maps, half of it next to the image; `residual_width` those inside the residual blocks.
    Weights start as torch's.
    """
    if isinstance(inp, int) or isinstance(out, int) or not _halvings(inp, out):
        raise misfit("vqvae", "an image to a map of codes 2, 4, 8, ... times smaller, or back", inp, out)
    towers = [Residual(width, residual_width) for _ in range(blocks)]
    edge = [max(width // 2, 1)] * (abs(_halvings(inp, out)) - 1)  # widths between the image and the blocks
    if inp[1] > out[1]:
        layers: list[nn.Module] = []
        for a, b in pairwise([inp[0], *edge, width]):
            layers += [nn.Conv2d(a, b, 4, 2, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(width, width, 3, padding=1), *towers, nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.Conv2d(width, out[0], 1))
    layers = [nn.Conv2d(inp[0], width, 3, padding=1), *towers]
    for a, b in pairwise([width, *edge, out[0]]):
        layers += [nn.ReLU(inplace=True), nn.ConvTranspose2d(a, b, 4, 2, padding=1)]
    return nn.Sequential(*layers)


def _halvings(inp: Image, out: Image) -> int:
    """How often `inp` is halved to give `out`; 0 if it cannot be, or the other way round."""
    large, small = max(inp[1:], out[1:]), min(inp[1:], out[1:])
    ratio = large[0] // small[0]
    fits = all(a == b * ratio for a, b in zip(large, small, strict=True))
    return ratio.bit_length() - 1 if fits and ratio & (ratio - 1) == 0 else 0

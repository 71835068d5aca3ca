"""The generator of CycleGAN: two downsamplings, residual blocks at a quarter of the size, two upsamplings.

Reflection padding avoids artifacts at the border; instance norm removes the contrast of the image. Johnson, Alahi &
Fei-Fei, Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016 (arXiv:1603.08155); Zhu, Park,
Isola & Efros, ICCV 2017 (arXiv:1703.10593), section 7.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.nn.layers.norms import ImageNorm, normal_weights, normalize
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("resnet_translator")
def resnet_translator(
    inp: Size, out: Size, base_channels: PositiveInt = 64, blocks: PositiveInt = 6, norm: ImageNorm = "instance"
) -> nn.Sequential:
    """Images (N, C, H, W) to logits of images (N, C', H, W): c7s1-64, d128, d256, `blocks` R256, u128, u64, c7s1-3.

    The paper takes 6 blocks at 128 pixels and 9 at 256. Sides are multiples of 4.
    """
    if isinstance(inp, int) or isinstance(out, int) or inp[1:] != out[1:]:
        raise misfit("resnet_translator", "an image to one of the same size", inp, out)
    if inp[1] % 4 or inp[2] % 4:
        raise ConfigError(
            f"network 'resnet_translator' halves an image twice, and {inp[1]}x{inp[2]} does not halve evenly",
            "network name=resnet_translator",
            f"use dataset.size={max(8, round(min(inp[1:]) / 4) * 4)}",
        )
    modules = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(inp[0], base_channels, 7),
        *normalize(norm, base_channels),
        nn.ReLU(),
    ]
    for a in (base_channels, 2 * base_channels):
        modules += [nn.Conv2d(a, 2 * a, 3, 2, padding=1), *normalize(norm, 2 * a), nn.ReLU()]
    modules += [Block(4 * base_channels, norm) for _ in range(blocks)]
    for a in (4 * base_channels, 2 * base_channels):
        modules += [nn.ConvTranspose2d(a, a // 2, 3, 2, padding=1, output_padding=1)]
        modules += [*normalize(norm, a // 2), nn.ReLU()]
    network = nn.Sequential(*modules, nn.ReflectionPad2d(3), nn.Conv2d(base_channels, out[0], 7))
    normal_weights(network)
    return network


class Block(nn.Module):
    """x + F(x), F two 3x3 convolutions with a norm after each; nothing after the sum."""

    def __init__(self, channels: int, norm: ImageNorm) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), *normalize(norm, channels), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), *normalize(norm, channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.residual(x)
        return x + residual

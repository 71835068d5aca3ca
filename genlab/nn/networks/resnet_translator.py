"""CycleGAN's generator: two halvings, residual blocks at a quarter of the size, two doublings.

Reflected borders keep the frame from showing; instance norm lets an image's own contrast go. Johnson, Alahi & Fei-Fei,
Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016 (arXiv:1603.08155); Zhu, Park, Isola &
Efros, ICCV 2017 (arXiv:1703.10593), section 7.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.nn.layers.norms import ImageNorm, normal_weights, normalize
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("resnet_translator")
def resnet_translator(
    inp: Size, out: Size, width: PositiveInt = 64, blocks: PositiveInt = 6, norm: ImageNorm = "instance"
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
    modules = _wide(inp[0], width, norm)
    for a in (width, 2 * width):
        modules += [nn.Conv2d(a, 2 * a, 3, 2, padding=1), *normalize(norm, 2 * a), nn.ReLU()]
    modules += [Block(4 * width, norm) for _ in range(blocks)]
    for a in (4 * width, 2 * width):
        modules += [nn.ConvTranspose2d(a, a // 2, 3, 2, padding=1, output_padding=1)]
        modules += [*normalize(norm, a // 2), nn.ReLU()]
    network = nn.Sequential(*modules, nn.ReflectionPad2d(3), nn.Conv2d(width, out[0], 7))
    normal_weights(network)
    return network


class Block(nn.Module):
    """x + F(x), F two 3x3 convolutions with a norm after each; nothing after the sum."""

    def __init__(self, width: int, norm: ImageNorm) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), *normalize(norm, width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), *normalize(norm, width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.change(x)
        return x + changed


def _wide(a: int, b: int, norm: ImageNorm) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(a, b, 7), *normalize(norm, b), nn.ReLU()]

"""Residual encoder and decoder for images of any size: x + F(x), with normalization before each convolution.

He, Zhang, Ren & Sun, Identity Mappings in Deep Residual Networks, ECCV 2016 (arXiv:1603.05027), figure 1b.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.shapes import Size
from genlab.nn.networks.conv import Channels, Norm, Sides, pyramid
from genlab.registry import NETWORKS, PositiveInt


@NETWORKS("resnet")
def resnet(
    inp: Size,
    out: Size,
    channels: Channels,
    blocks: PositiveInt = 2,
    norm: Norm = "batch",
    activation: Activation = "relu",
) -> nn.Sequential:
    """Stages of `blocks` residual blocks, each of which halves the image, then a linear map to the code.

    `channels` are the feature maps of the stages, starting from the image. A decoder has the stages in reverse order
    and doubles the sides by nearest-neighbor upsampling. Weights have torch's initialization.
    """

    def stage(a: int, b: int) -> list[nn.Module]:
        return [Residual(a if i == 0 else b, b, norm, activation) for i in range(blocks)]

    def down(a: int, b: int, large: Sides, small: Sides) -> list[nn.Module]:
        return [*stage(a, b), *([nn.AvgPool2d(2, ceil_mode=True)] if large != small else [])]

    def up(a: int, b: int, small: Sides, large: Sides) -> list[nn.Module]:
        return [*([nn.Upsample(large)] if large != small else []), *stage(a, b)]

    end = partial(_preactivation, norm=norm, activation=activation)
    return pyramid("resnet", inp, out, channels, down, up, stem=True, end=end)


class Residual(nn.Module):
    """x + F(x), where F has two 3x3 convolutions; a 1x1 convolution maps x if the number of feature maps changes."""

    def __init__(self, inp: int, out: int, norm: Norm, activation: Activation) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *_preactivation(inp, norm, activation), nn.Conv2d(inp, out, 3, padding=1),
            *_preactivation(out, norm, activation), nn.Conv2d(out, out, 3, padding=1),
        )  # fmt: skip
        self.carry = nn.Identity() if inp == out else nn.Conv2d(inp, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        carried: Tensor = self.carry(x)
        return carried + self.change(x)


def _preactivation(channels: int, norm: Norm, activation: Activation) -> list[nn.Module]:
    """Norm and activation; without norm the activation does not work in place, since its input is also added."""
    normalize: list[nn.Module] = [nn.BatchNorm2d(channels)] if norm == "batch" else []
    active = ACTIVATIONS[activation]()
    if norm == "none" and isinstance(active, nn.ReLU | nn.LeakyReLU):
        active.inplace = False
    return [*normalize, active]

"""Residual network of a flow's coupling layers: convolutions that keep the sides, an output of zero at first."""

from __future__ import annotations

from torch import Tensor, nn

from genlab.nn.layers.conditions import zeroed
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt


class Block(nn.Module):
    """x + F(x), F a 3x3 and a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.residual(x)
        return out


@NETWORKS("coupling_resnet")
def coupling_resnet(inp: Size, out: Size, channels: PositiveInt = 32, blocks: PositiveInt = 2) -> nn.Sequential:
    """Images (N, C, H, W) to images (N, C', H, W): a 3x3 convolution, residual blocks, a 3x3 convolution."""
    if isinstance(inp, int) or isinstance(out, int) or inp[1:] != out[1:]:
        raise misfit("coupling_resnet", "an image to one of the same size", inp, out)
    return nn.Sequential(
        nn.Conv2d(inp[0], channels, 3, padding=1),
        *(Block(channels) for _ in range(blocks)),
        nn.ReLU(),
        zeroed(nn.Conv2d(channels, out[0], 3, padding=1)),
    )

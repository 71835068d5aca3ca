"""Residual network of a flow's coupling layers: convolutions that keep the sides, an output of zero at first."""

from __future__ import annotations

from torch import Tensor, nn

from genlab.nn.layers.conditions import zeroed
from genlab.nn.layers.shapes import Size, misfit
from genlab.registry import NETWORKS, PositiveInt


class Block(nn.Module):
    """x + F(x), F a convolution of `kernel` x `kernel` and a 1x1 convolution."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.residual(x)
        return out


@NETWORKS("coupling_resnet")
def coupling_resnet(inp: Size, out: Size, channels: PositiveInt = 32, blocks: PositiveInt = 2) -> nn.Sequential:
    """Images (N, C, H, W) to images (N, C', H, W): a 3x3 convolution, residual blocks, a 3x3 convolution.

    For points, images of one pixel, all convolutions are 1x1: a fully connected network of `channels` units.
    """
    if isinstance(inp, int) or isinstance(out, int) or inp[1:] != out[1:]:
        raise misfit("coupling_resnet", "an image to one of the same size", inp, out)
    kernel = 1 if inp[1:] == (1, 1) else 3
    return nn.Sequential(
        nn.Conv2d(inp[0], channels, kernel, padding=kernel // 2),
        *(Block(channels, kernel) for _ in range(blocks)),
        nn.ReLU(),
        zeroed(nn.Conv2d(channels, out[0], kernel, padding=kernel // 2)),
    )

"""Convolutions and pooling as in LeNet, and the decoder that mirrors them: the network of the one-class literature.

Ruff et al., Deep One-Class Classification, ICML 2018: no biases, and batch norm without scale and shift.
"""

from __future__ import annotations

from torch import nn

from genlab.nn.layers.activations import ACTIVATIONS, Activation
from genlab.nn.layers.shapes import Size
from genlab.nn.networks.conv import Channels, Sides, pyramid
from genlab.registry import NETWORKS

KERNEL_SIZE = 5


@NETWORKS("lenet")
def lenet(
    inp: Size, out: Size, channels: Channels, bias: bool = False, activation: Activation = "leaky_relu"
) -> nn.Sequential:
    """5x5 convolutions, each followed by batch norm, `activation` and 2x2 max pooling, then a linear map to the code.

    `channels` are the feature maps of the layers, starting from the image. A decoder begins with a linear map and
    upsamples instead of pooling. `bias` also gives batch norm a scale and shift.
    """

    def stage(a: int, b: int, resample: list[nn.Module]) -> list[nn.Module]:
        convolution = nn.Conv2d(a, b, KERNEL_SIZE, padding=KERNEL_SIZE // 2, bias=bias)
        return [convolution, nn.BatchNorm2d(b, affine=bias), ACTIVATIONS[activation](), *resample]

    def down(a: int, b: int, large: Sides, small: Sides) -> list[nn.Module]:
        return stage(a, b, [nn.MaxPool2d(2, ceil_mode=True)] if large != small else [])

    def up(a: int, b: int, small: Sides, large: Sides) -> list[nn.Module]:
        return stage(a, b, [nn.Upsample(large)] if large != small else [])

    return pyramid("lenet", inp, out, channels, down, up, KERNEL_SIZE, bias)

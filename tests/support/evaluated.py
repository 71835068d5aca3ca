"""A split that is held in memory, and models whose every number is known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model, Phase
from genlab.errors import ConfigError


class MemorySplit:
    """What evaluators may ask of a split, over two tensors."""

    def __init__(self, image: Tensor, label: Tensor | None = None, **others: Tensor) -> None:
        self.name, self.table = "valid", SimpleNamespace(name="memory")
        self.columns = {"image": image} | ({} if label is None else {"label": label}) | others

    def __len__(self) -> int:
        return len(self.columns["image"])

    @property
    def points(self) -> bool:
        return self.columns["image"].shape[2:] == (1, 1)

    def classes(self) -> Tensor | None:
        label = self.columns.get("label")
        return label if label is not None and label.ndim == 1 else None

    def drawn(self, n: int) -> MemorySplit:
        """The first n, so that a test knows which they are."""
        image, *labels = (self.columns[name][:n] for name in ("image", "label") if name in self.columns)
        others = {name: column[:n] for name, column in self.columns.items() if name not in ("image", "label")}
        return MemorySplit(image, *labels, **others)

    def take(self, n: int, columns: tuple[str, ...]) -> tuple[Tensor, ...]:
        if not set(columns) <= set(self.columns):
            raise ConfigError("no such column")
        return tuple(self.columns[name][:n] for name in columns)

    def batches(
        self, columns: tuple[str, ...], batch_size: int, first: int = 0, every: int = 1
    ) -> Iterator[tuple[Tensor, ...]]:
        yield from zip(*(self.columns[name].split(batch_size)[first::every] for name in columns), strict=True)


class Shrinker(Model):
    """Encodes an image as its first pixels, decodes to a flat image, samples noise."""

    def __init__(self, latent_dim: int = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.latent_dim = latent_dim

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        return {"loss": image.sum((1, 2, 3)).mean(), "largest": image.flatten(1).amax(1).mean()}

    def sample(self, n: int) -> Tensor:
        return rng.uniform(n, 1, 4, 4, like=self.scale)

    def reconstruct(self, image: Tensor) -> Tensor:
        return 1 - image

    def encode(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, : self.latent_dim]

    def decode(self, code: Tensor) -> Tensor:
        return code[:, :1, None, None].expand(-1, 1, 4, 4)


class Players(Model):
    """Two phases that descend and one that is an update; the last must never be run by an evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 1), nn.Linear(1, 1)

    def shared_forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        return columns[0], columns[0] * 2

    def phases(self) -> list[Phase]:
        return [
            Phase("discriminator", lambda real, fake: {"loss": real.mean()}, self.one),
            Phase("generator", lambda real, fake: {"loss": fake.mean()}, self.two),
            Phase("statistics", self.update),
        ]

    def update(self, *columns: Tensor) -> dict[str, Tensor]:
        raise AssertionError("an evaluation must not update the model")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(0))

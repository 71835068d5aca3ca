"""Points drawn from a law that is known: a ring and a grid of Gaussians, and one point alone.

A point of D numbers is an image of one pixel, float32 (D, 1, 1), of any range. Its label is the number of its mode.

The ring and the grid are those of Srivastava et al., VEEGAN, NeurIPS 2017 (arXiv:1705.07761), in the measures of the
code of Lin, Khetan, Fanti & Oh, PacGAN, NeurIPS 2018 (arXiv:1712.04086).
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from genlab.data.dataset import Dataset, Options
from genlab.data.loader import Data
from genlab.data.sampler import generator
from genlab.data.store.store import Show
from genlab.data.store.table import Table
from genlab.errors import ConfigError
from genlab.registry import DATASETS, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class Points(Dataset):
    """A mixture of Gaussians around `centers` (K, D), each mode as likely; drawn by seed when it is opened."""

    unfit = "holds points, not pictures"

    def __init__(self, centers: Tensor, deviation: float, counts: dict[str, int], seed: int) -> None:
        super().__init__(Options(None, None, {}, False, None, seed))
        self.centers, self.deviation, self.counts = centers, deviation, counts

    def files(self) -> list[Path]:
        return []

    def prepare(self, show: Show | None = None, verify: bool = False) -> NoReturn:
        raise ConfigError(f"data set '{self.name}' needs no preparation", "its points are drawn", "train on it")

    def open(self, device: torch.device, show: Show | None = None) -> Data:
        drawn = {name: self.draw(n, name) for name, n in self.counts.items()}
        columns = {
            "image": torch.cat([points for points, _ in drawn.values()])[:, :, None, None],
            "label": torch.cat([modes for _, modes in drawn.values()]),
        }
        rows = torch.arange(len(columns["label"])).split(list(self.counts.values()))
        return Data(
            Table(self.name, columns, device, resident=True),
            dict(zip(self.counts, rows, strict=True)),
            [str(mode) for mode in range(len(self.centers))],
            self._hash(),
            self.options.seed,
            flip=False,
        )

    def draw(self, n: int, split: str) -> tuple[Tensor, Tensor]:
        """n points (n, D) of a split and their modes (n,), int64."""
        source = generator(self.options.seed, self.name, split)
        modes = torch.randint(len(self.centers), (n,), generator=source)
        spread = torch.randn(n, self.centers.shape[1], generator=source)
        return self.centers[modes] + self.deviation * spread, modes

    def _hash(self) -> str:
        facts = [self.name, self.centers.tolist(), self.deviation, self.counts, self.options.seed]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@DATASETS("ring")
class Ring(Points):
    """Gaussians evenly spread over a circle around 0, the first at (radius, 0)."""

    name = "ring"

    def __init__(
        self,
        modes: PositiveInt = 8,
        radius: NonNegativeFloat = 1.0,
        deviation: PositiveFloat = 0.01,
        n: PositiveInt = 100_000,
        valid: NonNegativeInt = 10_000,
        test: NonNegativeInt = 10_000,
        seed: int = 0,
    ) -> None:
        angle = torch.arange(modes) * (2 * math.pi / modes)
        centers = radius * torch.stack([angle.cos(), angle.sin()], 1)
        super().__init__(centers, deviation, {"train": n, "valid": valid, "test": test}, seed)


@DATASETS("grid")
class Grid(Points):
    """Gaussians on a square grid around 0."""

    name = "grid"

    def __init__(
        self,
        side: PositiveInt = 5,
        spacing: PositiveFloat = 2.0,
        deviation: PositiveFloat = 0.05,
        n: PositiveInt = 100_000,
        valid: NonNegativeInt = 10_000,
        test: NonNegativeInt = 10_000,
        seed: int = 0,
    ) -> None:
        axis = (torch.arange(side) - (side - 1) / 2) * spacing
        super().__init__(torch.cartesian_prod(axis, axis), deviation, {"train": n, "valid": valid, "test": test}, seed)


@DATASETS("dirac")
class Dirac(Points):
    """Every point is 0, on a line: the data of Mescheder, Geiger & Nowozin 2018 (arXiv:1801.04406), definition 2.1."""

    name = "dirac"

    def __init__(
        self,
        n: PositiveInt = 10_000,
        valid: NonNegativeInt = 1_000,
        test: NonNegativeInt = 1_000,
        seed: int = 0,
    ) -> None:
        super().__init__(torch.zeros(1, 1), 0.0, {"train": n, "valid": valid, "test": test}, seed)

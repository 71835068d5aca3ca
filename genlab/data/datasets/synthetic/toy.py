"""Points drawn from a known distribution: a ring and a grid of Gaussians, and a single point.

A point of D numbers is an image of one pixel, float32 (D, 1, 1), of any range. Its label is the index of its mode.

The ring and the grid are from Srivastava et al., VEEGAN, NeurIPS 2017 (arXiv:1705.07761), with the sizes in the
code of Lin, Khetan, Fanti & Oh, PacGAN, NeurIPS 2018 (arXiv:1712.04086).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.data.dataset import Data, Dataset, fixed
from genlab.data.sampler import generator
from genlab.data.store.hashing import json_hash
from genlab.data.store.store import Progress
from genlab.data.store.table import Table
from genlab.registry import DATASETS, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(kw_only=True)
class Points(Dataset):
    """A mixture of Gaussians around `centers()` (K, D), each mode equally likely; drawn by `split_seed` when opened."""

    not_a_base = "holds points, not images"

    deviation: PositiveFloat
    n: PositiveInt = 100_000
    valid: NonNegativeInt = 10_000
    test: NonNegativeInt = 10_000

    def centers(self) -> Tensor:
        """The means (K, D) of the modes."""
        raise NotImplementedError

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        centers, counts = self.centers(), {"train": self.n, "valid": self.valid, "test": self.test}
        drawn = [self._draw(centers, n, split) for split, n in counts.items()]
        points, modes = (torch.cat(column) for column in zip(*drawn, strict=True))
        indices = torch.arange(len(modes)).split(list(counts.values()))
        return Data(
            Table(self.name, {"image": points[:, :, None, None], "label": modes}, device, resident=True),
            dict(zip(counts, indices, strict=True)),
            [str(mode) for mode in range(len(centers))],
            json_hash({"name": self.name, "centers": centers.tolist(), "deviation": self.deviation, **counts,
                       "split_seed": self.split_seed}),
            self.seed,
            flip=False,
            split_seed=self.split_seed,
        )  # fmt: skip

    def _draw(self, centers: Tensor, n: int, split: str) -> tuple[Tensor, Tensor]:
        """n points (n, D) of a split and their modes int64 (n,)."""
        source = generator(self.split_seed, self.name, split)
        modes = torch.randint(len(centers), (n,), generator=source)
        spread = torch.randn(n, centers.shape[1], generator=source)
        return centers[modes] + self.deviation * spread, modes


@DATASETS("ring")
@dataclass(kw_only=True)
class Ring(Points):
    """Gaussians evenly spread over a circle around 0, the first at (radius, 0)."""

    name = "ring"

    modes: PositiveInt = 8
    radius: NonNegativeFloat = 1.0
    deviation: PositiveFloat = 0.01

    def centers(self) -> Tensor:
        angle = torch.arange(self.modes) * (2 * math.pi / self.modes)
        return self.radius * torch.stack([angle.cos(), angle.sin()], 1)


@DATASETS("grid")
@dataclass(kw_only=True)
class Grid(Points):
    """Gaussians on a square grid around 0."""

    name = "grid"

    side: PositiveInt = 5
    spacing: PositiveFloat = 2.0
    deviation: PositiveFloat = 0.05

    def centers(self) -> Tensor:
        axis = (torch.arange(self.side) - (self.side - 1) / 2) * self.spacing
        return torch.cartesian_prod(axis, axis)


@DATASETS("dirac")
@dataclass(kw_only=True)
class Dirac(Points):
    """Every point is 0, on a line: the data of Mescheder, Geiger & Nowozin 2018 (arXiv:1801.04406), definition 2.1."""

    name = "dirac"

    split_seed: int = fixed(0)
    deviation: float = fixed(0.0)
    n: PositiveInt = 10_000
    valid: NonNegativeInt = 1_000
    test: NonNegativeInt = 1_000

    def centers(self) -> Tensor:
        return torch.zeros(1, 1)

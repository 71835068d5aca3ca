"""Shapes: images of one white shape whose five factors of variation are known, for measuring disentanglement.

The factors are those of dSprites (Matthey, Higgins, Hassabis & Lerchner, dSprites: Disentanglement testing Sprites
dataset, 2017): shape, scale, orientation, and the position in x and y. At 64 pixels their grid has as many images,
737,280. The shapes are drawn here, so pixels differ from dSprites, and orientations are evenly spaced over the circle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from annotated_types import Ge
from torch import Tensor

from genlab.data.dataset import Data, Dataset
from genlab.data.sampler import generator
from genlab.data.store.hashing import json_hash
from genlab.data.store.store import Progress
from genlab.data.store.table import Table
from genlab.errors import ConfigError
from genlab.registry import DATASETS, NonNegativeInt, PositiveInt

SHAPES = ("square", "ellipse", "heart")
SCALES, ORIENTATIONS = 6, 40  # from half to full size; one turn
FACTORS = ("shape", "scale", "orientation", "x", "y")
SMALLEST = 16  # pixels: in smaller images, shapes and scales look the same
HEART = 1.43  # the curve's largest distance from its origin, rounded up


class Sprites:
    """Images uint8 (N, 1, S, S), black with a white shape, drawn when read from their factors.

    `templates` (K, T, T) hold each shape, scale and orientation, with black margins so wide that any window of S x S
    that starts at a position shows the whole shape. `template`, `row` and `column`, int64 (N,), are an image's window.
    It has the part of the interface of a tensor that a resident table needs.
    """

    def __init__(self, templates: Tensor, side: int, template: Tensor, row: Tensor, column: Tensor) -> None:
        self.templates, self.side, self.where = templates, side, (template, row, column)
        self.shape = torch.Size((len(template), 1, side, side))
        self.dtype, self.ndim = templates.dtype, len(self.shape)

    def to(self, device: torch.device) -> Sprites:
        return Sprites(self.templates.to(device), self.side, *(each.to(device) for each in self.where))

    def index_select(self, dim: int, indices: Tensor) -> Tensor:
        template, row, column = (each.index_select(dim, indices) for each in self.where)
        windows = self.templates.unfold(1, self.side, 1).unfold(2, self.side, 1)  # a view: (K, rows, columns, S, S)
        return windows[template, row, column][:, None]


@DATASETS("shapes")
@dataclass(kw_only=True)
class Shapes(Dataset):
    """Random images of the grid of all factors, none twice; the label is the shape.

    The column `factors`, uint8 (N, 5), has the index of each factor's value, as `FACTORS` orders them: 3 shapes, 6
    scales, 40 orientations, and size // 2 positions each, one pixel apart.
    """

    name = "shapes"
    not_a_base = "draws its images when they are read"

    size: Annotated[int, Ge(SMALLEST)] = 64
    n: PositiveInt = 100_000
    valid: NonNegativeInt = 10_000
    test: NonNegativeInt = 10_000

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        positions = self.size // 2
        counts = {"train": self.n, "valid": self.valid, "test": self.test}
        factors = self._factors((len(SHAPES), SCALES, ORIENTATIONS, positions, positions), sum(counts.values()))
        shape, scale, orientation, x, y = factors.unbind(1)
        template = (shape * SCALES + scale) * ORIENTATIONS + orientation
        # the window starts farther left, the farther right the shape is
        images = Sprites(templates(self.size), self.size, template, positions - 1 - y, positions - 1 - x)
        columns = {"image": cast("Tensor", images), "label": shape, "factors": factors.to(torch.uint8)}
        table = Table(self.name, columns, device, resident=True)
        table.factor_names = FACTORS
        indices = torch.arange(len(factors)).split(list(counts.values()))
        identity = {"name": self.name, "size": self.size, **counts, "split_seed": self.split_seed}
        return Data(
            table,
            dict(zip(counts, indices, strict=True)),
            list(SHAPES),
            json_hash(identity),
            self.seed,
            flip=False,
            split_seed=self.split_seed,
        )

    def _factors(self, sizes: tuple[int, ...], n: int) -> Tensor:
        """Factors int64 (n, 5) of different images, drawn by `split_seed`; `sizes` are the values of each factor."""
        total = math.prod(sizes)
        if n > total:
            raise ConfigError(
                f"{n} images are wanted, and there are {total} of {self.size}x{self.size} pixels",
                f"keys {self.key('n')}, {self.key('valid')}, {self.key('test')}",
                "use fewer, or a larger dataset.size",
            )
        drawn = torch.randperm(total, generator=generator(self.split_seed, self.name))[:n]
        return torch.stack(torch.unravel_index(drawn, sizes), 1)


def templates(size: int) -> Tensor:
    """Every shape, scale and orientation, uint8 (720, T, T), 255 inside the shape, in the middle of T x T pixels.

    The largest shapes fill a circle of about a quarter of `size` around the middle.
    """
    radius = (size - size // 2) / 2
    width = size + size // 2 - 1  # so that windows of `size` start at size // 2 positions
    place = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    row, column = torch.meshgrid(place, place, indexing="ij")
    scale = radius * torch.linspace(0.5, 1, SCALES, dtype=torch.float64)
    angle = torch.arange(ORIENTATIONS, dtype=torch.float64) * (2 * math.pi / ORIENTATIONS)
    cos, sin = (each[:, None, None] for each in (angle.cos(), angle.sin()))
    found = []
    for unit in scale:
        # pixels in the shape's own frame, y pointing up: (orientations, T, T)
        x = (cos * column - sin * row) / unit
        y = (-sin * column - cos * row) / unit
        found.append(torch.stack([_square(x, y), _ellipse(x, y), _heart(x, y)]))
    inside = torch.stack(found, 1)  # (shapes, scales, orientations, T, T)
    return inside.flatten(0, 2).to(torch.uint8) * 255


def _square(x: Tensor, y: Tensor) -> Tensor:
    """Which points are in the square inscribed in the unit circle, whose corners are at 45 degrees."""
    return torch.maximum(x.abs(), y.abs()) <= math.sqrt(0.5)


def _ellipse(x: Tensor, y: Tensor) -> Tensor:
    """Which points are in the ellipse of half axes 1 and ½."""
    return x.square() + 4 * y.square() <= 1


def _heart(x: Tensor, y: Tensor) -> Tensor:
    """Which points are in the heart (x² + y² − 1)³ ≤ x²y³, scaled to the unit circle."""
    x, y = HEART * x, HEART * y
    return (x.square() + y.square() - 1) ** 3 <= x.square() * y**3

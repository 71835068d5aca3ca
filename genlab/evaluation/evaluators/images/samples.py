"""Grids of samples, of reconstructions, and of latent traversals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from genlab.core.evaluator import Evaluator
from genlab.core.model import Decodes, Encodes, Reconstructs, Samples
from genlab.core.values import Value
from genlab.evaluation.latent import walks
from genlab.registry import EVALUATORS, Duration, PositiveFloat, PositiveInt
from genlab.reports.grid import are_images, class_columns, image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("samples")
@dataclass
class SamplesGrid(Evaluator):
    """A grid of n samples, from the same noise each time.

    For a conditional model a column is a class, and an incomplete last row is left out.
    """

    n: PositiveInt = 64
    every: Duration | None = "10%"

    split = None
    needs = (Samples,)

    def run(self, model: Any, split: None) -> Iterator[tuple[str, Value]]:
        columns = class_columns(model, self.n)
        images = model.sample(self.n - self.n % columns if columns else self.n)
        if are_images(images):
            yield "samples", image_grid(images, columns)


@EVALUATORS("reconstructions")
@dataclass
class Reconstructions(Evaluator):
    """The first n images of a split, each row of originals above the row of their reconstructions."""

    n: PositiveInt = 32
    columns: PositiveInt = 8
    every: Duration | None = "10%"

    needs = (Reconstructs,)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if split.points:
            return
        n = min(self.n, len(split))
        columns = min(self.columns, n)
        # whole rows, so that the pairs stay above each other
        image, *conditions = split.first(n - n % columns, ("image", *model.conditions))
        rows = zip(image.split(columns), model.reconstruct(image, *conditions).split(columns), strict=True)
        yield "reconstructions", image_grid(torch.cat([row for pair in rows for row in pair]), columns)


@EVALUATORS("traversals")
@dataclass
class Traversals(Evaluator):
    """The code of the first image, changed along one latent dimension per row; dimensions that vary most come first.

    A row spans `reach` standard deviations to either side of the mean; mean and deviation are those of the codes of the
    split's first 500 images.
    """

    dimensions: PositiveInt = 10
    columns: PositiveInt = 11
    reach: PositiveFloat = 2.0
    every: Duration | None = "10%"

    needs = (Encodes, Decodes)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if split.points:
            return
        codes = model.encode(*split.first(min(500, len(split)), ("image", *model.conditions))).flatten(1)
        steps = walks(codes, 0, self.dimensions, self.columns, self.reach)
        yield "traversals", image_grid(model.decode(steps.flatten(0, 1)), self.columns)

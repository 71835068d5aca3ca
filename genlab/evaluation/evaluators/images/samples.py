"""What a model draws: samples, reconstructions, traversals of its code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from genlab.core.model import Decodes, Encodes, Model, Reconstructs, Samples
from genlab.core.values import Value
from genlab.evaluation.latent import walks
from genlab.registry import EVALUATORS, Duration, PositiveFloat, PositiveInt
from genlab.reports.grid import are_pictures, class_columns, image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("samples")
class SamplesGrid:
    """A grid of images from the model's distribution; the caller's seed fixes the noise.

    Of a conditional model a column is a class, and the last row is left out if it would not be whole.
    """

    split: str | None = None

    def __init__(self, n: PositiveInt = 64, every: Duration | None = "10%") -> None:
        self.n = n
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Samples)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert isinstance(model, Samples)
        columns = class_columns(model, self.n)
        images = model.sample(self.n - self.n % columns if columns else self.n)
        if are_pictures(images):
            yield "samples", image_grid(images, columns)

    def protocol(self) -> dict[str, Any]:
        return {"images": self.n}


@EVALUATORS("reconstructions")
class Reconstructions:
    """The first images of a split, each row of originals above the row of their reconstructions."""

    split: str | None = "valid"

    def __init__(self, n: PositiveInt = 32, columns: PositiveInt = 8, every: Duration | None = "10%") -> None:
        self.n = n
        self.columns = columns
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Reconstructs)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, Reconstructs)
        if split.points:
            return
        n = min(self.n, len(split))
        columns = min(self.columns, n)
        # whole rows, so that the pairs stay above each other
        image, *conditions = split.first(n - n % columns, ("image", *model.conditions))
        rows = zip(image.split(columns), model.reconstruct(image, *conditions).split(columns), strict=True)
        yield "reconstructions", image_grid(torch.cat([row for pair in rows for row in pair]), columns)

    def protocol(self) -> dict[str, Any]:
        return {"images": self.n}


@EVALUATORS("traversals")
class Traversals:
    """One image's code, changed along one latent dimension a row, those that vary most coming first.

    A row runs from the mean minus `reach` standard deviations to the mean plus as much, mean and deviation
    being those of the codes of the split's first 500 images; the other dimensions keep the first code.
    """

    split: str | None = "valid"

    def __init__(
        self,
        dimensions: PositiveInt = 10,
        columns: PositiveInt = 11,
        reach: PositiveFloat = 2.0,
        every: Duration | None = "10%",
    ) -> None:
        self.dimensions = dimensions
        self.columns = columns
        self.reach = reach
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes) and isinstance(model, Decodes)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, Encodes)
        assert isinstance(model, Decodes)
        if split.points:
            return
        codes = model.encode(*split.first(min(500, len(split)), ("image", *model.conditions))).flatten(1)
        steps = walks(codes, 0, self.dimensions, self.columns, self.reach)
        yield "traversals", image_grid(model.decode(steps.flatten(0, 1)), self.columns)

    def protocol(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions, "reach": self.reach}

"""Image grids: samples, reconstructions, traversals of codes, filters, mixed styles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from genlab.core.evaluator import Evaluator
from genlab.core.model import (
    Decodes,
    Encodes,
    HasFilters,
    HasPrior,
    ImportanceSampled,
    MixesStyles,
    Model,
    Reconstructs,
    Samples,
    TraversesCodes,
)
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.latent import traversals
from genlab.registry import EVALUATORS, Count, Fraction, PositiveFloat, PositiveInt
from genlab.reports.grid import are_images, class_columns, image_grid


@EVALUATORS("samples")
@dataclass
class SamplesGrid(Evaluator):
    """A grid of n samples, from the same noise each time.

    For a conditional model a column is a class, and an incomplete last row is left out.
    """

    n: PositiveInt = 64

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
    """n images of a split, each row of originals above the row of their reconstructions."""

    n: PositiveInt = 32
    columns: PositiveInt = 8

    needs = (Reconstructs,)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if split.points:
            return
        n = min(self.n, len(split))
        columns = min(self.columns, n)
        # whole rows, so that the pairs stay above each other
        image, *conditions = split.take(n - n % columns, ("image", *model.conditions))
        rows = zip(image.split(columns), model.reconstruct(image, *conditions).split(columns), strict=True)
        yield "reconstructions", image_grid(torch.cat([row for pair in rows for row in pair]), columns)


@EVALUATORS("traversals")
@dataclass
class Traversals(Evaluator):
    """The code of one image, changed along one latent dimension per row; dimensions that vary most come first.

    A row spans `reach` standard deviations to either side of the mean; mean and deviation are those of the codes of 500
    images of the split.
    """

    dimensions: PositiveInt = 10
    columns: PositiveInt = 11
    reach: PositiveFloat = 2.0

    needs = (Encodes, Decodes)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if split.points:
            return
        codes = model.encode(*split.take(500, ("image", *model.conditions))).flatten(1)
        steps = traversals(codes, 0, self.dimensions, self.columns, self.reach)
        yield "traversals", image_grid(model.decode(steps.flatten(0, 1)), self.columns)


@EVALUATORS("code_traversals")
@dataclass
class CodeTraversals(Evaluator):
    """One image grid per continuous code: a row for each category, along which only this code changes.

    It changes from −`reach` to `reach`, beyond the range [-1, 1] of training; all images share the same noise.
    """

    columns: Count = 10
    reach: PositiveFloat = 2.0

    split = None

    def applies(self, model: Any) -> bool:
        return isinstance(model, TraversesCodes) and model.continuous > 0

    def run(self, model: Any, split: None) -> Iterator[tuple[str, Value]]:
        base = model.prior(1)
        for code in range(model.continuous):
            codes = model.traverse(
                base, code, torch.linspace(-self.reach, self.reach, self.columns, device=base.device)
            )
            yield f"code_traversals_{code + 1}", image_grid(model.decode(codes), self.columns)


@EVALUATORS("manifold")
@dataclass
class Manifold(Evaluator):
    """Images decoded on a grid of equal prior mass: Φ⁻¹((i + ½) / side) along both axes of a normal prior."""

    side: Count = 20

    split = None
    needs = (ImportanceSampled, HasPrior, Decodes)  # importance weights imply a normal prior
    notes = {"axes": "quantiles of the standard normal"}

    def applies(self, model: Model) -> bool:
        return super().applies(model) and getattr(model, "latent_dim", 0) == 2 and not model.conditions

    def run(self, model: Any, split: None) -> Iterator[tuple[str, Value]]:
        like = model.prior(1)
        axis = torch.special.ndtri((torch.arange(self.side, device=like.device) + 0.5) / self.side)
        down, across = torch.meshgrid(axis.flip(0), axis, indexing="ij")  # z_2 grows upwards
        codes = torch.stack([across, down], -1).flatten(0, 1)
        images = torch.cat([model.decode(part) for part in codes.split(256)])
        if are_images(images):
            yield "manifold", image_grid(images, self.side, gap=0)


@EVALUATORS("filters")
@dataclass
class Filters(Evaluator):
    """The first n filters, each scaled by its largest absolute value: gray is 0, white and black are ± that value."""

    n: Count = 100

    split = None
    needs = (HasFilters,)

    def run(self, model: HasFilters, split: None) -> Iterator[tuple[str, Value]]:
        filters = model.filters()[: self.n].float()
        if not len(filters) or not are_images(filters):
            return
        largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        yield "filters", image_grid(0.5 + 0.5 * filters / largest)


@EVALUATORS("style_mixing")
@dataclass
class StyleMixing(Evaluator):
    """A table of images: coarse layers take the style of the image left of the row, fine ones that of the image above.

    Karras, Laine & Aila, CVPR 2019 (arXiv:1812.04948), figure 3. `coarse` is the fraction of the layers, from the
    first, that take the row's style; `truncation` moves both styles towards their mean.
    """

    rows: Count = 6
    columns: Count = 8
    coarse: Fraction = 0.5
    truncation: Fraction = 0.7

    split = None
    needs = (MixesStyles, HasPrior)

    def run(self, model: Any, split: None) -> Iterator[tuple[str, Value]]:
        styles = model.styles(model.prior(self.rows + self.columns), self.truncation)
        left, above = styles.split([self.rows, self.columns])
        first = round(self.coarse * styles.shape[1])
        top = model.render(above)
        lines = [torch.cat([torch.ones_like(top[:1]), top])]
        for style in left.split(1):
            mixed = torch.cat([style[:, :first].expand(self.columns, -1, -1), above[:, first:]], 1)
            lines.append(model.render(torch.cat([style, mixed])))
        yield "style_mixing", image_grid(torch.cat(lines), self.columns + 1)

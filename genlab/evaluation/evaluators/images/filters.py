"""The filters of a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from genlab.core.evaluator import Evaluator
from genlab.core.model import HasFilters
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Count, Duration
from genlab.reports.grid import are_images, image_grid


@EVALUATORS("filters")
@dataclass
class Filters(Evaluator):
    """The first n filters, each scaled by its largest absolute value: gray is 0, white and black are ± that value."""

    n: Count = 100
    every: Duration | None = "10%"

    split = None
    needs = (HasFilters,)

    def run(self, model: HasFilters, split: None) -> Iterator[tuple[str, Value]]:
        filters = model.filters()[: self.n].float()
        if not are_images(filters):
            return
        largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        yield "filters", image_grid(0.5 + 0.5 * filters / largest)

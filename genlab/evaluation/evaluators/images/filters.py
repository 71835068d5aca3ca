"""What a model looks for in an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from genlab.core.model import HasFilters, Model
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Count, Duration
from genlab.reports.grid import are_pictures, image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("filters")
class Filters:
    """The first n filters as a grid, each scaled by its own largest number: grey is 0, white and black are ±largest."""

    split: str | None = None

    def __init__(self, n: Count = 100, every: Duration | None = "10%") -> None:
        self.n = n
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, HasFilters)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert isinstance(model, HasFilters)
        filters = model.filters()[: self.n].float()
        if not are_pictures(filters):
            return
        largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        yield "filters", image_grid(0.5 + 0.5 * filters / largest)

    def protocol(self) -> dict[str, Any]:
        return {"filters": self.n, "scale": "each by its largest absolute value"}

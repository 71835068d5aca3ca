"""The path from noise to data of models that sample step by step, shown in a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt

from genlab.core.evaluator import Evaluator
from genlab.core.model import HasPath, Model
from genlab.core.sampling import checked_options
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.sampling_path import has_steps, states, strip
from genlab.registry import EVALUATORS, Count, PositiveInt


@EVALUATORS("paths")
@dataclass
class PathImages(Evaluator):
    """States of samples from noise (left) to data (right), at most `columns`, evenly spaced over the steps.

    Images: `rows` samples, one a row. Points in the plane: `points` samples over the data. Noise wider than that of
    unit deviation is scaled down to it. `sampling`: options of the model's `sample`.
    """

    rows: PositiveInt = 6
    columns: Annotated[Count, Gt(1)] = 10
    points: PositiveInt = 500
    sampling: dict[str, Any] | None = None

    def applies(self, model: Model) -> bool:
        return has_steps(model)

    def check(self, model: Any, split: Split) -> None:
        self.options(model)

    def options(self, model: HasPath) -> dict[str, Any]:
        return checked_options(model, self.sampling, f"{self.key}.sampling")

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        data = split.take(self.points, ("image",))[0] if split.points else None
        if data is not None and data[0].numel() != 2:
            return  # only a plane can be shown
        n = self.rows if data is None else self.points
        yield "paths", strip(model, states(model, n, self.columns, **self.options(model)), data)

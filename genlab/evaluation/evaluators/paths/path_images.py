"""The path from noise to data of models that sample step by step, shown in a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt

from genlab.core.evaluator import SamplesEvaluator
from genlab.core.model import Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.sampling_path import has_steps, states, strip
from genlab.registry import EVALUATORS, Count, PositiveInt
from genlab.reports.vector_field import in_the_plane


@EVALUATORS("paths")
@dataclass
class PathImages(SamplesEvaluator):
    """States of samples from noise (left) to data (right), at most `columns`, evenly spaced over the steps.

    Images: `rows` samples, one a row. Points in the plane: `points` samples over the data. Noise wider than that of
    unit deviation is scaled down to it. `sampling`: options of the model's `sample`.
    """

    rows: PositiveInt = 6
    columns: Annotated[Count, Gt(1)] = 10
    points: PositiveInt = 500

    def applies(self, model: Model) -> bool:
        return has_steps(model)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        data = split.take(self.points, ("image",))[0] if split.points else None
        if data is not None and not in_the_plane(data):
            return
        n = self.rows if data is None else self.points
        yield "paths", strip(model, states(model, n, self.columns, **self.options(model)), data)

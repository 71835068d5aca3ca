"""The codes of a split in the plane of a two-dimensional code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genlab.core.evaluator import Evaluator
from genlab.core.model import Encodes, Model
from genlab.core.values import Value
from genlab.evaluation.latent import codes
from genlab.registry import EVALUATORS, Duration, PositiveInt
from genlab.reports.scatter import scatter

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("plane")
@dataclass
class Plane(Evaluator):
    """The codes of a split's first n images as points, colored by class if the data set has classes.

    Makhzani et al. (2015), figure 2: the codes of an adversarial autoencoder fill their prior.
    """

    n: PositiveInt = 5000
    every: Duration | None = "20%"

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes) and getattr(model, "latent_dim", 0) == 2 and not model.conditions

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        points, classes = codes(model, split, self.n), split.classes()
        yield "plane", scatter(points, None if classes is None else classes[: len(points)].cpu())

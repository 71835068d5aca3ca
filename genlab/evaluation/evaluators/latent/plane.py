"""Where the images of a split lie in the plane of a two-dimensional code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from genlab.core.model import Encodes, Model
from genlab.core.values import Value
from genlab.evaluation.latent import codes
from genlab.registry import EVALUATORS, Duration, PositiveInt
from genlab.reports.scatter import scatter

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("plane")
class Plane:
    """The codes of a split's first n images as points, coloured by class where there are any.

    As Makhzani et al. (2015) show in figure 2 that the codes of an adversarial autoencoder fill their prior.
    """

    split: str | None = "valid"

    def __init__(self, n: PositiveInt = 5000, every: Duration | None = "20%") -> None:
        self.n, self.every = n, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes) and getattr(model, "latent_dim", 0) == 2 and not model.conditions

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        points, classes = codes(model, split, self.n), split.classes()
        yield "plane", scatter(points, None if classes is None else classes[: len(points)].cpu())

    def protocol(self) -> dict[str, Any]:
        return {"images": self.n}

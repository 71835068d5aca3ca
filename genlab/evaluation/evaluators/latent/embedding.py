"""Latent codes for TensorBoard's projector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genlab.core.evaluator import Evaluator
from genlab.core.model import Encodes
from genlab.core.values import Embedding, Value
from genlab.registry import EVALUATORS, Duration, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("embedding")
@dataclass
class Codes(Evaluator):
    """The codes of a split's first n images, the images as thumbnails, and their labels if the data set has any."""

    n: PositiveInt = 1000
    every: Duration | None = None

    needs = (Encodes,)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if split.points:
            return  # without thumbnails; evaluator points shows them
        n = min(self.n, len(split))
        image, *conditions = split.first(n, ("image", *model.conditions))
        codes = model.encode(image, *conditions).flatten(1)
        classes = split.classes()
        yield "codes", Embedding(codes.float().cpu(), image.cpu(), None if classes is None else classes[:n])

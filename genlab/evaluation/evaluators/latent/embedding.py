"""Latent codes to walk around in, in TensorBoard's projector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from genlab.core.model import Encodes, Model
from genlab.core.values import Embedding, Value
from genlab.registry import EVALUATORS, Duration, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("embedding")
class Codes:
    """The codes of a split's first images, the images as thumbnails, and their labels where there are any."""

    split: str | None = "valid"

    def __init__(self, n: PositiveInt = 1000, every: Duration | None = None) -> None:
        self.n = n
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Encodes)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, Encodes)
        if split.points:
            return  # without thumbnails; evaluator points shows them
        n = min(self.n, len(split))
        image, *conditions = split.first(n, ("image", *model.conditions))
        codes = model.encode(image, *conditions).flatten(1)
        classes = split.classes()
        yield "codes", Embedding(codes.float().cpu(), image.cpu(), None if classes is None else classes[:n])

    def protocol(self) -> dict[str, Any]:
        return {"images": self.n}

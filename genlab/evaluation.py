"""Running one evaluator: the same way while training and afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from genlab import noise
from genlab.results import Picture, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genlab.data.dataset import Data, Split
    from genlab.model import Model
    from genlab.registry import Cadence

EVALUATION_STREAM = 2**31  # keeps evaluation noise apart from every training step's


class Evaluator(Protocol):
    """What a registered evaluator offers."""

    split: str | None
    every: Cadence

    def applies(self, model: Model) -> bool: ...

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]: ...

    def protocol(self) -> dict[str, Any]: ...


@torch.no_grad()
def evaluate(
    evaluator: Evaluator, model: Model, data: Data, seed: int, split: str | None = None
) -> list[tuple[str, Value]]:
    """What `evaluator` says of `model` on a split (its own unless given), with noise fixed by the seed.

    The model is in evaluation mode meanwhile. Scalars come back as floats.
    """
    training = model.training
    model.eval()
    noise.seed(seed, EVALUATION_STREAM)
    name = split or evaluator.split
    rows = data.split(name) if evaluator.split is not None and name else None
    try:
        with noise.alone():  # and no autocast: a figure must not depend on the precision of training
            return [(key, _on_host(value)) for key, value in evaluator.run(model, rows)]
    finally:
        model.train(training)


def _on_host(value: Value) -> Value:
    if isinstance(value, torch.Tensor):
        return float(value)
    return Picture(value.pixels.cpu()) if isinstance(value, Picture) else value


def numbers(values: list[tuple[str, Value]]) -> dict[str, float]:
    """Only the scalars."""
    return {key: value for key, value in values if isinstance(value, float | int)}

"""Running one evaluator: the same way while training and afterwards."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from genlab.core import rng
from genlab.core.values import Picture, Value
from genlab.distributed.float64 import float64_on_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genlab.core.model import Model
    from genlab.data.dataset import Data, Split
    from genlab.distributed.runtime import Runtime
    from genlab.registry import Cadence

EVALUATION_STREAM = 2**31  # keeps evaluation noise apart from every training step's


class Evaluator(Protocol):
    """What a registered evaluator offers.

    With `live = True` beside it, the trainer gives it the weights that learn, not their average of `trainer.ema`. A
    method `instead(model)` names the option with which it applies to a model to which it does not as it is.
    """

    split: str | None
    every: Cadence

    def applies(self, model: Model) -> bool: ...

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]: ...

    def protocol(self) -> dict[str, Any]: ...


@runtime_checkable
class Checks(Protocol):
    """An evaluator that may find that there is nothing for it to do: it is asked before training, not only after it."""

    def check(self, split: Split) -> None:
        """GenlabError if these data, or files that are missing, do not allow it. Cheap: reads labels at most."""


@runtime_checkable
class Shared(Protocol):
    """An evaluator whose figures are means over the images of a split: several ranks share the work."""

    def sums(self, model: Model, split: Split, rank: int, world_size: int) -> tuple[dict[str, torch.Tensor], int]:
        """Sums over this rank's images by name, and their number; every image is some rank's."""


@runtime_checkable
class Concludes(Protocol):
    """A Shared evaluator whose figures are not simply the means."""

    def figures(self, totals: dict[str, float], rows: float) -> Iterator[tuple[str, Value]]:
        """The figures from the sums over all images by name, and the images' number."""


@runtime_checkable
class Remembers(Protocol):
    """An evaluator that compares with its earlier evaluations of the same run: what it remembers is in checkpoints."""

    memory: dict[str, Any]  # as JSON has it; replaced, never changed in place


@torch.no_grad()
def evaluate(
    evaluator: Evaluator,
    model: Model,
    data: Data,
    seed: int,
    split: str | None = None,
    runtime: Runtime | None = None,
) -> list[tuple[str, Value]]:
    """What `evaluator` says of `model` on a split (its own unless given), with noise fixed by the seed.

    The model is in evaluation mode meanwhile. Scalars come back as floats. With several ranks all of them call
    this: they share a Shared evaluator and all have its figures, rank 0 alone runs any other.
    """
    training = model.training
    model.eval()
    name = split or evaluator.split
    rows = data.split(name) if evaluator.split is not None and name else None
    try:
        # no autocast: a figure must not depend on the precision of training
        with rng.alone(), float64_on_host(next(itertools.chain(model.parameters(), model.buffers())).device):
            rng.seed(seed, EVALUATION_STREAM)
            if runtime and runtime.world_size > 1:
                return _among_ranks(evaluator, model, rows, runtime)
            return [(key, _on_host(value)) for key, value in evaluator.run(model, rows)]
    finally:
        model.train(training)


def _among_ranks(evaluator: Evaluator, model: Model, rows: Split | None, runtime: Runtime) -> list[tuple[str, Value]]:
    if isinstance(evaluator, Shared) and rows is not None:
        totals, count = runtime.all_reduce_sum(*evaluator.sums(model, rows, runtime.rank, runtime.world_size))
        if isinstance(evaluator, Concludes):
            return [(key, _on_host(value)) for key, value in evaluator.figures(totals, count)]
        return [(key, total / count) for key, total in totals.items()]
    return [(key, _on_host(value)) for key, value in evaluator.run(model, rows)] if runtime.is_main else []


def _on_host(value: Value) -> Value:
    if isinstance(value, torch.Tensor):
        return float(value)
    return Picture(value.pixels.cpu()) if isinstance(value, Picture) else value


def numbers(values: list[tuple[str, Value]]) -> dict[str, float]:
    """Only the scalars."""
    return {key: value for key, value in values if isinstance(value, float | int)}

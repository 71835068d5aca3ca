"""Running one evaluator: the same way while training and afterwards."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

from genlab.core import rng
from genlab.core.evaluator import Evaluator, MeanEvaluator
from genlab.core.values import Image, Value
from genlab.distributed.float64 import float64_on_host

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.data.dataset import Data, Split
    from genlab.distributed.runtime import Runtime

EVALUATION_STREAM = 2**31  # its random numbers differ from those of every training step


@torch.no_grad()
def evaluate(
    evaluator: Evaluator,
    model: Model,
    data: Data,
    seed: int,
    split: str | None = None,
    runtime: Runtime | None = None,
) -> list[tuple[str, Value]]:
    """Run `evaluator` on `model` and a split (its own by default), in evaluation mode, with noise fixed by the seed.

    Scalars are returned as floats. All ranks call this: a MeanEvaluator divides the images among them and returns the
    same values on each; any other evaluator runs on rank 0 only.
    """
    training = model.training
    model.eval()
    name = split or evaluator.split
    data_split = data.split(name) if evaluator.split is not None and name else None
    tensors = itertools.chain(model.parameters(), model.buffers())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    try:
        # no autocast: values must not depend on the precision of training
        with rng.replicated(), float64_on_host(device):
            rng.seed(seed, EVALUATION_STREAM)
            if runtime and runtime.world_size > 1:
                return _among_ranks(evaluator, model, data_split, runtime)
            return [(key, _on_host(value)) for key, value in evaluator.run(model, data_split)]
    finally:
        model.train(training)


def _among_ranks(evaluator: Evaluator, model: Model, split: Split | None, runtime: Runtime) -> list[tuple[str, Value]]:
    if isinstance(evaluator, MeanEvaluator) and split is not None:
        totals, count = runtime.all_reduce_sum(*evaluator.sums(model, split, runtime.rank, runtime.world_size))
        return [(key, _on_host(value)) for key, value in evaluator.figures(totals, count)]
    return [(key, _on_host(value)) for key, value in evaluator.run(model, split)] if runtime.is_main else []


def _on_host(value: Value) -> Value:
    if isinstance(value, torch.Tensor):
        return float(value)
    return Image(value.pixels.cpu()) if isinstance(value, Image) else value


def with_charts(evaluator: Evaluator, values: list[tuple[str, Value]]) -> list[tuple[str, Value]]:
    """The values, and the evaluator's charts of the numbers among them."""
    return [*values, *evaluator.charts(numbers(values))]


def numbers(values: list[tuple[str, Value]]) -> dict[str, float]:
    """Only the scalars."""
    return {key: value for key, value in values if isinstance(value, float | int)}

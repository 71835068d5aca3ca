"""What an evaluator is: it measures or shows something of a model, during training and in `genlab eval`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.core.values import Value
from genlab.registry import Cadence


class Evaluator:
    """The base class. A registered evaluator is a dataclass whose fields are its keys in YAML, `every` among them.

    `run` is called without gradients, in evaluation mode, and with a random stream of its own.
    """

    split: str | None = "valid"  # the split that is read unless the user names one; None: no data are read
    needs: tuple[Any, ...] = ()  # capabilities (genlab/core/model.py) that a model must have, all of them
    live = False  # True: evaluate the weights being trained, not their average (trainer.ema_decay)
    every: Cadence = None
    notes: Mapping[str, Any] = {}  # what the protocol states besides the keys; `run` may replace it
    memory: dict[str, Any] | None = None  # kept in checkpoints, as JSON: for comparing with earlier evaluations

    def applies(self, model: Any) -> bool:
        """Whether this evaluator can be run on `model`; if not, it is left out."""
        return all(isinstance(model, capability) for capability in self.needs)

    def instead(self, model: Any) -> str | None:
        """The key (`source=reconstructions`) with which this applies to a model that it does not apply to as it is."""

    def check(self, split: Any) -> None:
        """GenlabError if the data or other files lack something. Called before training; may read labels, no more."""

    def run(self, model: Any, split: Any) -> Iterator[tuple[str, Value]]:
        """Names and values. `split` is the Split to read, or None if `self.split` is."""
        raise NotImplementedError

    def protocol(self) -> dict[str, Any]:
        """What must be known to measure the same again; stored beside the figures."""
        keys = [key for key in inspect.signature(type(self)).parameters if key != "every"]
        return {**{key: getattr(self, key) for key in keys}, **self.notes}


class MeanEvaluator(Evaluator):
    """An evaluator whose figures are means over the images of a split; several ranks share the images."""

    def batches(self, model: Any, split: Any, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """For each batch of this rank: the number of images, and each figure summed over them, float64."""
        raise NotImplementedError

    def figures(self, totals: dict[str, float], n: float) -> Iterator[tuple[str, Value]]:
        """The figures from the sums over all n images."""
        return ((name, total / n) for name, total in totals.items())

    def sums(self, model: Any, split: Any, rank: int, world_size: int) -> tuple[dict[str, Tensor], int]:
        """Each figure summed over the images of this rank, and the number of these images."""
        totals: dict[str, Tensor] = {}
        n = 0
        for count, found in self.batches(model, split, rank, world_size):
            totals = {name: totals[name] + value if name in totals else value for name, value in found.items()}
            n += count
        return totals, n

    def run(self, model: Any, split: Any) -> Iterator[tuple[str, Value]]:
        totals, n = self.sums(model, split, 0, 1)
        on_host = torch.stack(list(totals.values())).tolist() if totals else []  # one transfer
        yield from self.figures(dict(zip(totals, on_host, strict=True)), n)

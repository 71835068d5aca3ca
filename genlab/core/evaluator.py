"""What an evaluator is: it measures or shows something of a model, during training and in `genlab eval`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from genlab.core.values import Value
from genlab.registry import Cadence


@dataclass
class Evaluator:
    """The base class. A registered evaluator is a dataclass whose fields are its keys in YAML; `every` is one of all.

    `run` is called without gradients, in evaluation mode, and with a random stream of its own.
    """

    every: Cadence = field(default=None, kw_only=True)  # how often during training; None: only at the end
    found: dict[str, Any] = field(default_factory=dict, init=False)  # what the last run adds to the protocol
    memory: dict[str, Any] | None = field(default=None, init=False)  # in checkpoints: to compare with earlier runs

    split: ClassVar[str | None] = "valid"  # the split that is read unless the user names one; None: no data are read
    needs: ClassVar[tuple[Any, ...]] = ()  # capabilities (genlab/core/model.py) that a model must have, all of them
    live: ClassVar[bool] = False  # True: evaluate the weights being trained, not their average (trainer.ema_decay)
    notes: ClassVar[Mapping[str, Any]] = {}  # what the protocol states besides the keys

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
        return {**{key: getattr(self, key) for key in keys}, **self.notes, **self.found}


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

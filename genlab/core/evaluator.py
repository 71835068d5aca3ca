"""Base classes of evaluators, which measure or show a property of a model in training and in `genlab eval`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from genlab.core.model import Samples
from genlab.core.sampling import checked_options
from genlab.core.values import Image, Value
from genlab.registry import Cadence


@dataclass
class Evaluator:
    """The base class. A registered evaluator is a dataclass whose fields are its keys in YAML. Every evaluator has
    the key `every`.

    `run` is called without gradients, in evaluation mode, and with its own random stream.
    """

    every: Cadence = field(default=None, kw_only=True)  # how often during training; None: only at its end
    key: str = field(default="evaluator", kw_only=True)  # its own in the configuration, `evaluator.fid`, for messages
    found: dict[str, Any] = field(default_factory=dict, init=False)  # entries that the last run adds to the protocol
    # in checkpoints, to compare with later calls
    memory: dict[str, list[float]] | None = field(default=None, init=False)

    split: ClassVar[str | None] = "valid"  # the split to read unless the user names one; None: reads no data
    needs: ClassVar[tuple[Any, ...]] = ()  # capabilities (genlab/core/model.py) that a model must have, all of them
    live: ClassVar[bool] = False  # True: evaluate the weights being trained, not their average (trainer.ema_decay)
    # whether it measures samples alone, as many as its key `images` says: `genlab score` takes it
    measures_samples: ClassVar[bool] = False
    # whether leaving samples out changes its numbers by this alone; not if it draws subsets or pairs at random
    smooth: ClassVar[bool] = True
    repeats: ClassVar[int] = 1  # seeds with which `genlab eval` measures by default; figures of samples vary with it
    notes: ClassVar[Mapping[str, Any]] = {}  # entries of the protocol besides the keys

    def applies(self, model: Any) -> bool:
        """Whether this evaluator can be run on `model`; if not, it is left out."""
        return all(isinstance(model, capability) for capability in self.needs)

    def instead(self, model: Any) -> str | None:
        """The override (`source=reconstructions`) that makes this applicable to `model`; None if there is none."""

    def check(self, model: Any, split: Any) -> None:
        """GenlabError if a key, the data or another file does not fit. Called before training and before `genlab eval`;
        may read only labels."""

    def run(self, model: Any, split: Any) -> Iterator[tuple[str, Value]]:
        """Names and values. `split` is the Split to read; None if `self.split` is None."""
        raise NotImplementedError

    def charts(self, numbers: Mapping[str, float]) -> Iterator[tuple[str, Image]]:
        """Names and images that are made from the numbers alone; after averaging, if there are several seeds."""
        return iter(())

    def protocol(self) -> dict[str, Any]:
        """Everything needed to repeat the measurement; stored with the values."""
        keys = [key for key in inspect.signature(type(self)).parameters if key not in ("every", "key")]
        return {**{key: getattr(self, key) for key in keys}, **self.notes, **self.found}


@dataclass
class SamplesEvaluator(Evaluator):
    """An evaluator of a model's samples. `sampling`: options of the model's `sample`."""

    sampling: dict[str, Any] | None = field(default=None, kw_only=True)

    needs = (Samples,)

    def check(self, model: Any, split: Any) -> None:
        self.options(model)

    def options(self, model: Samples) -> dict[str, Any]:
        return checked_options(model, self.sampling, f"{self.key}.sampling")


class MeanEvaluator(Evaluator):
    """An evaluator whose values are means over the images of a split, which are divided among the ranks."""

    def batches(self, model: Any, split: Any, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """For each batch of this rank: the number of images, and each value summed over them, float64."""
        raise NotImplementedError

    def figures(self, totals: dict[str, float], n: float) -> Iterator[tuple[str, Value]]:
        """The values from their sums over all n images."""
        return ((name, total / n) for name, total in totals.items())

    def sums(self, model: Any, split: Any, rank: int, world_size: int) -> tuple[dict[str, Tensor], int]:
        """Each value summed over the images of this rank, and the number of these images."""
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

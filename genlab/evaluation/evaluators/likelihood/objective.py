"""The model's own objective on data that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Phase
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Cadence, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("objective")
class Objective:
    """The mean over every image of a split of all that the phases' objectives return.

    The same functions as in training, in evaluation mode. An objective averages over its batch; batches count
    by their size, so the last, smaller one does not weigh more than its share. Names are those of training:
    plain (`elbo`) if one phase descends, `<phase>/<name>` (`discriminator/loss`) if several do. A phase
    without a module (PCA's update) is no objective and is left out; a model of such phases alone is measured by
    its `loss`, if it has one.
    """

    split: str | None = "valid"

    def __init__(self, batch_size: PositiveInt = 500, every: Cadence = "auto") -> None:
        self.batch_size = batch_size
        self.every = every

    def applies(self, model: Model) -> bool:
        return bool(_objectives(model))

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        totals, rows = self.sums(model, split, 0, 1)
        if totals:
            means = (torch.stack(list(totals.values())) / rows).tolist()  # the one wait for the device
            yield from zip(totals, means, strict=True)

    def sums(self, model: Model, split: Split, rank: int, world_size: int) -> tuple[dict[str, Tensor], int]:
        """The sums over the images of this rank's batches, every `world_size`-th one, and how many images these are."""
        totals: dict[str, Tensor] = {}
        rows = 0
        for index, columns in enumerate(split.batches(model.inputs, self.batch_size, rank, world_size)):
            rng.branch(rank + index * world_size)  # a batch has its own noise, whoever evaluates it
            n = len(columns[0])
            rows += n
            drawn = model.shared_forward(*columns)
            for prefix, phase in _objectives(model):
                for name, value in phase.objective(*drawn).items():
                    total = value.detach().double() * n
                    totals[prefix + name] = totals.get(prefix + name, torch.zeros_like(total)) + total
        return totals, rows

    def protocol(self) -> dict[str, Any]:
        return {
            "mean": "over the images of the split",
            "batch_size": self.batch_size,
            "units": "as the model's losses",
        }


def _objectives(model: Model) -> list[tuple[str, Phase]]:
    """The phases that descend, each with the prefix of its names; where none does, the model's `loss`."""
    phases = [phase for phase in model.phases() if phase.module is not None]
    if not phases:
        return [] if type(model).loss is Model.loss else [("", Phase("model", model.loss))]
    return [("" if len(phases) == 1 else f"{phase.name}/", phase) for phase in phases]

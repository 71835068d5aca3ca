"""The model's losses on held-out data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from genlab.core import rng
from genlab.core.evaluator import MeanEvaluator
from genlab.core.model import Model, Phase
from genlab.data.dataset import Split
from genlab.evaluation.discriminators import as_in_training
from genlab.nn.capabilities import HasDiscriminator
from genlab.registry import EVALUATORS, PositiveInt


@EVALUATORS("objective")
@dataclass
class Objective(MeanEvaluator):
    """The mean over every image of a split of all values that the phases log in training.

    An objective averages over its batch; batches are weighted by their size. Names are those of training: plain
    (`elbo`) if one phase has a loss, `<phase>/<name>` (`discriminator/loss`) if several have. A phase without a module
    (PCA's update) has no loss and is left out; a model with such phases alone is measured by its `loss`, if it has one.
    Discriminators use the batch statistics of `batch_size` images, so a single image is not evaluated.
    """

    batch_size: PositiveInt = 500

    notes = {"mean": "over the images of the split", "units": "as the model's losses"}

    def applies(self, model: Model) -> bool:
        return bool(_objectives(model))

    def batches(
        self, model: Model, split: Split, rank: int, world_size: int
    ) -> Iterator[tuple[int, dict[str, Tensor]]]:
        size = self.batch_size
        if isinstance(model, HasDiscriminator):
            if len(split) == 1:
                return
            size = _at_least_two(len(split), size)
            self.found = {"discriminator": "batch norm uses the statistics of each batch, as in training"}
        for index, columns in enumerate(split.batches(model.inputs, size, rank, world_size)):
            rng.fold_in(rank + index * world_size)  # a batch has its own noise, whichever rank evaluates it
            n = len(columns[0])
            with as_in_training(model):
                shared = model.shared_forward(*columns)
                found = {
                    prefix + name: value.detach().double() * n
                    for prefix, phase in _objectives(model)
                    for name, value in phase.values(*shared).items()
                }
            yield n, found


def _at_least_two(total: int, size: int) -> int:
    """The smallest batch size from `size` on that leaves no batch of one image, which has no batch statistics."""
    return next((n for n in range(max(2, size), total) if total % n != 1), total)


def _objectives(model: Model) -> list[tuple[str, Phase]]:
    """The phases with a module, each with the prefix of its names; if there is none, the model's `loss`."""
    phases = [phase for phase in model.phases() if phase.module is not None]
    if not phases:
        return [] if type(model).loss is Model.loss else [("", Phase("model", model.loss))]
    return [("" if len(phases) == 1 else f"{phase.name}/", phase) for phase in phases]

"""The log-likelihood of a model whose normalizer is not known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.nn.capabilities import HasPartition
from genlab.nn.layers.boltzmann import Pixels
from genlab.registry import EVALUATORS, PositiveInt


@EVALUATORS("ais")
@dataclass
class AnnealedLikelihood(Evaluator):
    """Mean log p of a split's images, by annealed importance sampling of log Z (Salakhutdinov & Murray 2008).

    `nll` is its negative; `nll_low` and `nll_high` reflect the interval of log Z, ±3 standard errors of the mean
    weight (no `nll_low` if the weights spread too far); `effective_chains` is the effective number of chains. If a
    layer has at most 20 units, log Z is also computed exactly: `nll_exact`, and `log_z_error` of the estimate. AIS that
    misses modes reports too good a likelihood: compare with more temperatures.
    """

    chains: PositiveInt = 100
    temperatures: PositiveInt = 14_500
    batch_size: PositiveInt = 500

    notes = {
        "interval": "3 standard errors of the mean importance weight",
        "base": "mean of the training images",
        "units": "nats per image",
    }

    def applies(self, model: Model) -> bool:
        """Not for binary units on gray pixels: their log p is not a likelihood."""
        data = getattr(model, "data", None)
        grays = isinstance(data, Pixels) and (data.distribution, data.binarize) == ("binary", "none")
        return isinstance(model, HasPartition) and not grays

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        self.found = {"pixels": pixels_of(model)}
        rng.fold_in(0)  # log Z does not depend on the split
        z = model.log_partition(self._mean(split.sibling("train")), self.chains, self.temperatures)
        total = torch.zeros((), dtype=torch.float64)
        for index, (image,) in enumerate(split.batches(("image",), self.batch_size)):
            rng.fold_in(1 + index)
            total += model.unnormalized(image).double().sum().cpu()
        mean = float(total) / len(split)
        yield "nll", z.value - mean
        if z.low > -math.inf:
            yield "nll_low", z.low - mean
        yield "nll_high", z.high - mean
        yield "log_z", z.value
        yield "effective_chains", z.chains
        exact = model.exact_log_partition()
        if exact is not None:
            yield "nll_exact", exact - mean
            yield "log_z_error", z.value - exact

    def _mean(self, train: Split) -> Tensor:
        sums = [image.double().sum(0) for (image,) in train.batches(("image",), self.batch_size)]
        return (torch.stack(sums).sum(0) / len(train)).float()


def pixels_of(model: object) -> str:
    """How pixels are transformed before log p is evaluated."""
    data = getattr(model, "data", None)
    if not isinstance(data, Pixels):
        return "as they are"
    if data.distribution == "gaussian":
        return f"as they are, with sigma {data.sigma:g}; log p is a density"
    return {"sampled": "binarized at random by their gray value", "threshold": "binarized at 0.5", "none": "gray"}[
        data.binarize
    ]

"""The log-likelihood of a model that is known up to its normaliser."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model
from genlab.core.values import Value
from genlab.nn.capabilities import HasPartition
from genlab.nn.layers.boltzmann import Pixels
from genlab.registry import EVALUATORS, Duration, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("ais")
class AnnealedLikelihood:
    """Mean log p of a split's images, by annealed importance sampling of log Z (Salakhutdinov & Murray 2008).

    `nll` is its negative; `nll_low` and `nll_high` carry the interval of log Z, ±3 standard errors of the mean
    weight (no `nll_low` where the weights spread too far), and `effective_chains` says how many of the chains count.
    Where log Z can be had exactly (a layer of at most 20 units), `nll_exact` and the error of the annealed
    `log_z_error` are given too. AIS tends to miss modes and then to flatter: a longer ladder shows whether it does.
    """

    split: str | None = "valid"

    def __init__(
        self,
        chains: PositiveInt = 100,
        temperatures: PositiveInt = 14_500,
        batch_size: PositiveInt = 500,
        every: Duration | None = None,
    ) -> None:
        self.chains, self.temperatures, self.batch_size, self.every = chains, temperatures, batch_size, every
        self.pixels = "as they are"  # of the model that was measured last

    def applies(self, model: Model) -> bool:
        """Not for binary units that are shown greys: of those log p is no likelihood."""
        data = getattr(model, "data", None)
        grays = isinstance(data, Pixels) and (data.distribution, data.binarize) == ("binary", "none")
        return isinstance(model, HasPartition) and not grays

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, HasPartition)
        self.pixels = pixels_of(model)
        rng.branch(0)  # the ladder's own noise: log Z is the same whichever split is measured
        z = model.log_partition(self._mean(split.sibling("train")), self.chains, self.temperatures)
        total = torch.zeros((), dtype=torch.float64)
        for index, (image,) in enumerate(split.batches(("image",), self.batch_size)):
            rng.branch(1 + index)
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

    def protocol(self) -> dict[str, Any]:
        return {
            "chains": self.chains,
            "temperatures": self.temperatures,
            "interval": "3 standard errors of the mean importance weight",
            "base": "mean of the training images",
            "pixels": self.pixels,
            "units": "nats per image",
        }


def pixels_of(model: object) -> str:
    """What became of an image's pixels before log p was taken of them."""
    data = getattr(model, "data", None)
    if not isinstance(data, Pixels):
        return "as they are"
    if data.distribution == "gaussian":
        return f"as they are, with sigma {data.sigma:g}; log p is a density"
    return {"sampled": "binarised, each by its grey", "threshold": "binarised at 0.5", "none": "grey"}[data.binarize]

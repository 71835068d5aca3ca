"""Whether single dimensions of a code correspond to single factors of variation that the data set knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.latent.features import check_kind
from genlab.evaluation.latent import codes
from genlab.evaluation.metrics.disentanglement import (
    PRUNED,
    dci,
    factor_vae_score,
    mutual_information_gap,
    separated_attribute_predictability,
)
from genlab.registry import EVALUATORS, PositiveInt


@EVALUATORS("disentanglement")
@dataclass
class Disentanglement(Evaluator):
    """MIG, DCI, SAP and the FactorVAE score of the codes of `images` images of a split; larger is better, at most 1.

    The split has known factors, such as those of `dataset=shapes`. Factors that do not vary among its images are left
    out. With `per_factor`, MIG and SAP of each factor too: `mig/scale`, ...
    """

    images: Annotated[int, Ge(100)] = 10_000
    bins: Annotated[int, Ge(2)] = 20
    trees: PositiveInt = 20
    votes: PositiveInt = 800
    vote_size: Annotated[int, Ge(2)] = 64
    per_factor: bool = False

    notes = {
        "codes": "means, if the posterior is Gaussian",
        "mig": "mutual information of binned dimensions",
        "dci": "random forests, fitted to the first half of the images; informativeness: accuracy on the second half",
        "sap": "balanced accuracy of thresholds on the second half, scaled so that guessing has 0",
        "factor_vae_score": f"without dimensions of less than {PRUNED} of the largest variance",
    }

    def applies(self, model: Model) -> bool:
        return check_kind(model, "code")

    def check(self, model: Any, split: Split) -> None:
        if not split.table.factor_names:
            raise ConfigError(
                f"data set '{split.table.name}' has no known factors", "column factors", "use dataset=shapes"
            )

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        drawn = split.drawn(self.images)
        seed = int(torch.randint(2**31, ()))  # before the model may draw noise of its own
        (column,) = drawn.take(len(drawn), ("factors",))
        names, factors = varying(split.table.factor_names, column.cpu().numpy().astype(np.int64))
        code = codes(model, drawn).numpy()
        gaps = mutual_information_gap(code, factors, self.bins)
        disentangled, complete, informative = dci(code, factors, self.trees, seed)
        separated = separated_attribute_predictability(code, factors)
        yield "mig", float(gaps.mean())
        yield "dci_disentanglement", disentangled
        yield "dci_completeness", complete
        yield "dci_informativeness", informative
        yield "sap", float(separated.mean())
        yield "factor_vae_score", factor_vae_score(code, factors, self.votes, self.vote_size, seed)
        if self.per_factor:
            for name, gap, apart in zip(names, gaps.tolist(), separated.tolist(), strict=True):
                yield f"mig/{name}", gap
                yield f"sap/{name}", apart


def varying(names: tuple[str, ...], factors: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """The factors (N, F) that have several values, and their names."""
    kept = np.flatnonzero(factors.min(0) < factors.max(0))
    return [names[f] for f in kept], factors[:, kept]

"""How many dimensions codes really use: their effective rank and correlations, and a warning if they collapse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Encodes, HasPosterior, Model
from genlab.core.values import UNTAUGHT, Diagnosis, Value
from genlab.data.dataset import Split
from genlab.evaluation.latent import codes
from genlab.registry import EVALUATORS, Fraction, keyword_parameters

EARLY = 0.25  # fraction of training up to which codes may still spread
SAME = 0.01  # variation of codes below which they count as one


@EVALUATORS("spectrum")
@dataclass
class Spectrum(Evaluator):
    """Over `images` of the split: `effective_rank`, `correlation` and `variation` of the codes.

    The effective rank is exp of the entropy of the normalized singular values of the centered codes (Roy & Vetterli,
    EUSIPCO 2007): D if all D dimensions vary alike and without correlation, 1 if all codes lie on a line. `correlation`
    is the mean absolute correlation of two dimensions. `variation` is the root mean squared distance of a code from the
    mean code, relative to the root mean squared norm: near 0, all codes are the same. A diagnosis is given if they are,
    or if the effective rank is below the fraction `least` of the dimensions: dimensional collapse (Jing, Vincent, LeCun
    & Tian, ICLR 2022). A VAE's code is left to the evaluator `active_units`.
    """

    images: Annotated[int, Ge(2)] = 2000
    least: Fraction = 0.05

    needs = (Encodes,)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        found = codes(model, split.drawn(self.images)).double()
        rank, spread = effective_rank(found), variation(found)
        yield "effective_rank", rank
        yield "correlation", mean_correlation(found)
        yield "variation", spread
        reachable = min(found.shape[1], len(found) - 1)
        if (spread < SAME or rank < self.least * reachable) and not isinstance(model, HasPosterior):
            yield "dimensional_collapse", _diagnosis(rank, found.shape[1], spread, model)


def effective_rank(codes: Tensor) -> float:
    """exp of the entropy of the normalized singular values of centered codes (N, D); 0 if all codes are equal."""
    values = torch.linalg.svdvals(codes - codes.mean(0))
    if values.sum() == 0:
        return 0.0
    p = values / values.sum()
    return math.exp(float(torch.special.entr(p).sum()))


def mean_correlation(codes: Tensor) -> float:
    """The mean absolute correlation of two different dimensions of codes (N, D) that vary; 0 if there are not two."""
    varying = codes[:, codes.std(0) > 0]
    dimensions = varying.shape[1]
    if dimensions < 2:
        return 0.0
    total = torch.corrcoef(varying.T).abs().sum() - dimensions
    return float(total / (dimensions * (dimensions - 1)))


def variation(codes: Tensor) -> float:
    """The root mean squared distance from the mean, relative to the root mean squared norm of codes (N, D)."""
    norm = codes.square().sum(1).mean()
    return float((codes.var(0, correction=0).sum() / norm).sqrt()) if norm > 0 else 0.0


def _diagnosis(rank: float, dimensions: int, spread: float, model: Model) -> Diagnosis:
    what = f"effective rank {rank:.1f} of {dimensions} dimensions"
    if spread < SAME:
        what = f"codes differ by {100 * spread:.2g} % of their norm"
    return Diagnosis(f"the code has collapsed: {what}; {_treatment(model, rank)}", EARLY, UNTAUGHT)


def _treatment(model: Model, rank: float) -> str:
    """What helps against the collapse of this model; the key, if it has one."""
    known = keyword_parameters(type(model))
    weights = getattr(model, "weights", {})
    if "variance" in known and isinstance(weights, dict):
        return f"model.variance={2 * weights['variance']:g}"
    if "temperature" in known:
        return f"separate images more: model.temperature={model.temperature / 2:g}"  # type: ignore[operator]
    if "latent_dim" in known:
        return f"a smaller code says as much: model.latent_dim={max(1, math.ceil(rank))}"
    return "a smaller code says as much" + (": reduce model.width" if "width" in known else "")

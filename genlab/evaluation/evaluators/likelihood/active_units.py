"""How much a Gaussian posterior encodes: active units, KL per dimension, mutual information with the image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.evaluator import Evaluator
from genlab.core.model import HasPosterior, Model
from genlab.core.values import UNTAUGHT, Diagnosis, Value
from genlab.data.dataset import Split
from genlab.nn.losses.divergences import KLPenalty, kl_per_dimension
from genlab.registry import EVALUATORS, PositiveFloat, PositiveInt, keyword_parameters

FEW = 1 / 8  # fraction of active dimensions up to which most of a code is wasted
SILENT = 0.1  # nats about x in z below which the code is uninformative
EARLY = 0.25  # fraction of training up to which an uninformative code may still improve


@EVALUATORS("active_units")
@dataclass
class ActiveUnits(Evaluator):
    """Over `images` of the split: `active_units`, `kl` and `mutual_information` I(x; z), both in nats.

    A dimension is active if the variance over images of its mean, Var_x E[z_j|x], exceeds `threshold` (Burda, Grosse &
    Salakhutdinov 2016, section 5). I(x; z) = E log q(z|x) / q(z), q(z) being the mean of these images' posteriors:
    it cannot exceed log `images`. With `dimensions` the KL of each dimension too: `kl/0`, ...
    """

    images: PositiveInt = 1000
    threshold: PositiveFloat = 0.01
    dimensions: bool = False

    needs = (HasPosterior,)
    notes = {"units": "nats"}

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        columns = split.take(self.images, ("image", *model.conditions))
        parts = [model.posterior(*part) for part in zip(*(column.split(500) for column in columns), strict=True)]
        mean, log_variance = (torch.cat(each) for each in zip(*parts, strict=True))
        active = (mean.var(0) > self.threshold).sum()
        kl = kl_per_dimension(mean, log_variance).mean(0)
        information = mutual_information(mean, log_variance)
        yield "active_units", active
        yield "kl_of_code", kl.sum()
        yield "mutual_information", information
        if self.dimensions:
            yield from ((f"kl/{j}", value) for j, value in enumerate(kl))
        collapsed = active <= FEW * len(kl) or information < SILENT
        if collapsed:
            yield "posterior_collapse", collapse(int(active), len(kl), float(information), model)


def mutual_information(mean: Tensor, log_variance: Tensor) -> Tensor:
    """I(x; z) in nats of images whose posteriors are N(μ, σ²), each (N, D), and q(z) the mean of these.

    The mean of log q(z|x_i) − log 1/N Σ_j q(z|x_j), one z from each q(z|x_i). Hoffman & Johnson, ELBO surgery, 2016.
    """
    mean, log_variance = mean.double(), log_variance.double()
    epsilon = rng.normal(*mean.shape, like=mean).double()
    z = mean + torch.exp(0.5 * log_variance) * epsilon
    precision = torch.exp(-log_variance)
    # −2 log q(z_i|x_j) without its constant, for every pair: Σ (z − μ)²/σ² + log σ², multiplied out
    constant = (mean.square() * precision + log_variance).sum(1)
    pairs = z.square() @ precision.T - 2 * z @ (mean * precision).T + constant
    aggregated = torch.logsumexp(-0.5 * pairs, 1) - math.log(len(mean))
    own = -0.5 * (epsilon.square() + log_variance).sum(1)
    return (own - aggregated).mean()


def collapse(active: int, total: int, information: float, model: Model) -> Diagnosis:
    """The diagnosis of an uninformative code, due once its KL term has reached its final weight."""
    sentence = (
        f"the posterior has collapsed: {active} of {total} latent dimensions are active, and the code holds "
        f"{max(0.0, information):.2f} nats about the image: {treatment(model)}"
    )
    return Diagnosis(sentence, max(EARLY, penalty_of(model).settled), UNTAUGHT)


def penalty_of(model: Model) -> KLPenalty:
    """How a model weighs its KL over training; the plain KL if the model does not define it."""
    penalty = getattr(model, "penalty", None)
    return penalty if isinstance(penalty, KLPenalty) else KLPenalty()


def treatment(model: Model) -> str:
    """The override against the collapse of this model."""
    if getattr(model, "beta", 1.0) > 1:
        return "model.beta=1"
    free = penalty_of(model).free
    if free:
        return f"'model.beta_schedule={{name: free_bits, nats: {2 * free:g}}}'"
    if "beta_schedule" in keyword_parameters(type(model)):
        return "model.beta_schedule=free_bits"
    return f"model.beta={getattr(model, 'beta', 1.0) / 10:g}"

"""What the code of a model with a Gaussian posterior says: active units, KL of each dimension, mutual information."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import HasPosterior, Model
from genlab.core.values import UNTAUGHT, Diagnosis, Value
from genlab.nn.losses.beta import Penalty
from genlab.nn.losses.divergences import kl_of_dimensions
from genlab.registry import EVALUATORS, Cadence, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split

FEW = 1 / 8  # share of active dimensions up to which most of a code is wasted
SILENT = 0.1  # nats about x in z below which nothing is left of it
EARLY = 0.25  # share of training up to which a code that says nothing may still learn to


@EVALUATORS("active_units")
class ActiveUnits:
    """Over the split's first `images`: `active_units`, `kl` and `mutual_information` I(x; z), both in nats.

    A dimension is active if the variance over images of its mean, Var_x E[z_j|x], exceeds `threshold` (Burda, Grosse &
    Salakhutdinov 2016, section 5). I(x; z) = E log q(z|x) / q(z), q(z) being the mean of these images' posteriors:
    it cannot exceed log `images`. With `dimensions` the KL of each dimension too: `kl/0`, ...
    """

    split: str | None = "valid"

    def __init__(
        self,
        images: PositiveInt = 1000,
        threshold: PositiveFloat = 0.01,
        dimensions: bool = False,
        every: Cadence = "20%",
    ) -> None:
        self.images, self.threshold, self.dimensions, self.every = images, threshold, dimensions, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, HasPosterior)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, HasPosterior)
        assert isinstance(model, Model)
        columns = split.first(min(self.images, len(split)), ("image", *model.conditions))
        parts = [model.posterior(*part) for part in zip(*(column.split(500) for column in columns), strict=True)]
        mean, log_variance = (torch.cat(each) for each in zip(*parts, strict=True))
        active = (mean.var(0) > self.threshold).sum()
        kl = kl_of_dimensions(mean, log_variance).mean(0)
        information = mutual_information(mean, log_variance)
        yield "active_units", active
        yield "kl_of_code", kl.sum()
        yield "mutual_information", information
        if self.dimensions:
            yield from ((f"kl/{j}", value) for j, value in enumerate(kl))
        collapsed = active <= FEW * len(kl) or information < SILENT
        if collapsed:
            yield "posterior_collapse", collapse(int(active), len(kl), float(information), model)

    def protocol(self) -> dict[str, Any]:
        return {"images": self.images, "threshold": self.threshold, "units": "nats"}


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


def collapse(active: int, of: int, information: float, model: Model) -> Diagnosis:
    """What is said of a code that says nothing, once its KL weighs what it is meant to weigh."""
    sentence = (
        f"the posterior has collapsed, {active} of {of} latent dimensions are active and the code tells "
        f"{max(0.0, information):.2f} nats about the image: {treatment(model)}"
    )
    return Diagnosis(sentence, max(EARLY, penalty_of(model).settled), UNTAUGHT)


def penalty_of(model: Model) -> Penalty:
    """How a model's KL weighs over training; the KL itself where the model does not say."""
    penalty = getattr(model, "penalty", None)
    return penalty if isinstance(penalty, Penalty) else Penalty()


def treatment(model: Model) -> str:
    """The override that makes this model's code speak again."""
    if getattr(model, "beta", 1.0) > 1:
        return "model.beta=1"
    free = penalty_of(model).free
    if free:
        return f"'model.beta_schedule={{name: free_bits, nats: {2 * free:g}}}'"
    if "beta_schedule" in inspect.signature(type(model)).parameters:
        return "model.beta_schedule=free_bits"
    return f"model.beta={getattr(model, 'beta', 1.0) / 10:g}"

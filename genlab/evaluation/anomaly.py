"""Anomaly scores of images, and the threshold above which an image counts as an anomaly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Reconstructs, Scores
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.registry import AnomalyRule


def can_score(model: Model) -> bool:
    """Whether a model scores images without conditions: a label would reveal the answer."""
    return isinstance(model, Scores | Reconstructs) and not model.conditions


def score(model: Model, image: Tensor, rule: AnomalyRule = "auto") -> Tensor:
    """Scores (N,), larger is more anomalous, of images (N, C, H, W).

    `auto`: the model's own score where it has one (VAE: −log p(x|μ(x)) + KL, the pixels as they are; RBM: the free
    energy), else, and under `reconstruction`, the squared error of the reconstruction, summed over pixels.
    """
    if rule == "auto" and isinstance(model, Scores):
        return model.score(image).float()
    if not isinstance(model, Reconstructs):
        raise ConfigError("this model cannot reconstruct", "key score", "use score=auto")
    return (model.reconstruct(image) - image).square().flatten(1).sum(1)


def scores(model: Model, split: Split, rule: AnomalyRule = "auto", batch_size: int = 500, every: int = 1) -> Tensor:
    """Scores (n,), on the host, of a split's images, or of those in every so many-th of its batches."""
    found = []
    for index, (image,) in enumerate(split.batches(("image",), batch_size, 0, every)):
        rng.fold_in(index)  # a batch has its own noise, whichever batches were scored before
        found.append(score(model, image, rule).cpu())
    return torch.cat(found)


@dataclass(frozen=True)
class Threshold:
    """A score above which an image counts as an anomaly, and the rate of normal images that have a higher score.

    `rate` is the expectation; with 95 % probability the rate is between `low` and `high`. `images` were used.
    """

    value: float
    rate: float
    low: float
    high: float
    images: int

    def __str__(self) -> str:
        return (
            f"threshold {self.value:.6g} from {self.images} validation images: {self.rate:.1%} of normal images are "
            f"expected above it (95 % interval: {self.low:.1%} to {self.high:.1%})"
        )


def calibrate(score: Tensor, quantile: float) -> Threshold:
    """The threshold from the scores (n,) of normal images that the model was not trained on.

    It is the k-th smallest score, k = ⌈(n + 1) quantile⌉, at most n. The rate of normal images above it is then
    distributed as Beta(n + 1 − k, k) (Vovk, Conditional validity of inductive conformal predictors, ACML 2012), or
    lower if scores are equal. ConfigError without images.
    """
    from scipy.special import betaincinv

    n = len(score)
    if not n:
        raise ConfigError(
            "no validation image is normal",
            "key evaluator.anomaly.normal",
            "choose other classes, or enlarge dataset.valid",
        )
    k = min(n, math.ceil((n + 1) * quantile - 1e-9))
    low, high = (float(betaincinv(n + 1 - k, k, p)) for p in (0.025, 0.975))
    return Threshold(float(score.double().sort().values[k - 1]), (n + 1 - k) / (n + 1), low, high, n)

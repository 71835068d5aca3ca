"""Anomaly scores of images, and the threshold above which an image counts as an anomaly."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Reconstructs, Scores
from genlab.data.dataset import Split
from genlab.errors import ConfigError

Rule = Literal["auto", "reconstruction"]


def can_score(model: Model) -> bool:
    """Whether a model scores images without conditions: a label would reveal the answer."""
    return isinstance(model, Scores | Reconstructs) and not model.conditions


def score(model: Model, image: Tensor, rule: Rule = "auto") -> Tensor:
    """Scores (N,), larger is more anomalous, of images (N, C, H, W).

    `auto`: the model's own score where it has one (VAE: −log p(x|μ(x)) + KL, the pixels as they are; RBM: the free
    energy), else, and under `reconstruction`, the squared error of the reconstruction, summed over pixels.
    """
    if rule == "auto" and isinstance(model, Scores):
        return model.score(image).float()
    if not isinstance(model, Reconstructs):
        raise ConfigError("this model cannot reconstruct", "key score", "use score=auto")
    return (model.reconstruct(image) - image).square().flatten(1).sum(1)


def scores(model: Model, split: Split, rule: Rule = "auto", batch_size: int = 500, every: int = 1) -> Tensor:
    """Scores (n,), on the host, of a split's images, or of those in every so many-th of its batches."""
    found = []
    for index, (image,) in enumerate(split.batches(("image",), batch_size, 0, every)):
        rng.fold_in(index)  # a batch has its own noise, whichever batches were scored before
        found.append(score(model, image, rule).cpu())
    return torch.cat(found)


def normal_threshold(model: Model, train: Split, quantile: float, rule: Rule = "auto", n: int = 5000) -> float:
    """The `quantile` of the scores of about `n` training images from the whole split."""
    batch = min(500, n)
    taken = scores(model, train, rule, batch, every=max(1, len(train) // n))
    return float(taken.double().quantile(quantile))

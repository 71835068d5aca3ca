"""By which metric a run is ranked, its best value so far, and whether that is too long ago."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from genlab.errors import ConfigError

# words in the names of metrics of which more is better
RISING = frozenset(
    (
        "accuracy",
        "ari",
        "auroc",
        "coverage",
        "density",
        "elbo",
        "likelihood",
        "modes",
        "nmi",
        "precision",
        "psnr",
        "purity",
        "quality",
        "recall",
        "ssim",
    )
)


def rises(metric: str) -> bool:
    """Whether more of a metric is better, by the words of its name: valid/elbo, probe_accuracy, precision_mnist."""
    words = re.split(r"[/_]", metric)
    return not RISING.isdisjoint(words) and "negative" not in words


class Ranking:
    """The best value of `metric`, and after how many steps without a better one a run ends (`patience`)."""

    def __init__(self, metric: str | None, patience: int | None) -> None:
        if metric is None and patience is not None:
            raise ConfigError(
                "this model is ranked by no metric", "key trainer.patience", "name one, e.g. checkpoint.best=valid/loss"
            )
        self.metric, self.patience = metric, patience
        self.best: dict[str, Any] | None = None  # metric, value and step

    def note(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the value that `metrics` hold; a value that equals the best is not a better one."""
        value = metrics.get(self.metric or "", math.nan)
        if math.isfinite(value) and (self.best is None or self._better(value, self.best["value"])):
            self.best = {"metric": self.metric, "value": value, "step": step}

    def restore(self, best: dict[str, Any] | None) -> None:
        """Take the best value of a checkpoint, if it is one of the same metric."""
        self.best = best if best and best["metric"] == self.metric else None

    def _better(self, value: float, best: float) -> bool:
        return value > best if rises(self.metric or "") else value < best

    def improved(self, step: int) -> bool:
        """Whether the best value is that of `step`."""
        return self.best is not None and self.best["step"] == step

    def exhausted(self, step: int) -> bool:
        """Whether the best value is `patience` steps old."""
        return self.patience is not None and self.best is not None and step - self.best["step"] >= self.patience

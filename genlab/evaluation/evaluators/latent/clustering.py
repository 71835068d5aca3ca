"""Whether the clusters of codes are the classes of labeled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.evaluators.latent.features import Kind, check_kind, features, labels, standardized
from genlab.registry import EVALUATORS, NonNegativeInt, PositiveInt


@EVALUATORS("clustering")
@dataclass
class Clustering(Evaluator):
    """k-means of standardized codes of `images` images (None: all), compared with their classes; 1 is perfect.

    `nmi`: normalized mutual information (arithmetic mean of the entropies), which also credits clusters that divide a
    class. `ari`: adjusted Rand index, 0 for random clusters.
    """

    images: PositiveInt | None = 10_000
    clusters: Annotated[int, Ge(2)] | None = None
    restarts: PositiveInt = 5
    seed: NonNegativeInt = 0
    features: Kind = "code"
    batch_size: PositiveInt = 500

    notes = {"standardized": "by the mean and deviation of the same codes", "nmi": "arithmetic mean"}

    def applies(self, model: Model) -> bool:
        return check_kind(model, self.features)

    def check(self, model: Any, split: Split) -> None:
        labels(split)

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        from sklearn.cluster import KMeans
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

        drawn = split.drawn(self.images or len(split))
        classes = labels(drawn)
        clusters = min(self.clusters or max(2, len(np.unique(classes))), len(classes))
        self.found = {"clusters": clusters}
        (codes,) = standardized(features(model, drawn, self.features, self.batch_size))
        found = KMeans(clusters, n_init=self.restarts, random_state=self.seed).fit_predict(codes)
        yield "nmi", float(normalized_mutual_info_score(classes, found))
        yield "ari", float(adjusted_rand_score(classes, found))

"""Whether the categories that a model found without labels match the classes of labeled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genlab.core.evaluator import Evaluator
from genlab.core.model import Clusterer
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.evaluators.latent.features import labels
from genlab.registry import EVALUATORS, PositiveInt

Counts = NDArray[np.int64]


@EVALUATORS("clustering_accuracy")
@dataclass
class ClusteringAccuracy(Evaluator):
    """The error of a model's categories as a classifier; the training split decides which class a category stands for.

    `error`: every category stands for another class, by the best such assignment (Hungarian method). `majority_error`:
    a category stands for the most frequent class among its training images. Errors are fractions of the split read.
    """

    batch_size: PositiveInt = 500

    needs = (Clusterer,)
    notes = {
        "classes of categories": "from the training split",
        "error": "one class per category (Hungarian method)",
        "batch normalization": "by its running statistics",
    }

    def check(self, model: Any, split: Split) -> None:
        labels(split)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        train, own = self.counts(model, split.sibling("train")), self.counts(model, split)
        classes = max(train.shape[1], own.shape[1])
        train, own = (np.pad(each, ((0, 0), (0, classes - each.shape[1]))) for each in (train, own))
        yield "error", error(own, one_to_one(train))
        yield "majority_error", error(own, train.argmax(1))

    def counts(self, model: Any, split: Split) -> Counts:
        """How many images are of category i and class j, (categories, classes)."""
        truth = labels(split)
        parts = [model.cluster(image).cpu() for (image,) in split.batches(("image",), self.batch_size)]
        found = np.zeros((model.clusters, int(truth.max()) + 1), np.int64)
        np.add.at(found, (torch.cat(parts).numpy(), truth), 1)
        return found


def one_to_one(counts: Counts) -> Counts:
    """The one-to-one assignment of classes to categories with the most correct `counts`; -1: no class."""
    from scipy.optimize import linear_sum_assignment

    assigned = np.full(len(counts), -1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    assigned[rows] = columns
    return assigned


def error(counts: Counts, assigned: Counts) -> float:
    """The fraction of `counts` (categories, classes) outside the class assigned to the category."""
    right = sum(int(row[label]) for row, label in zip(counts, assigned, strict=True) if label >= 0)
    return 1 - right / int(counts.sum())

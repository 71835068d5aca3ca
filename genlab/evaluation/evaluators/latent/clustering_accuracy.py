"""What categories that a model found by itself have to do with the classes of labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from genlab.core.model import Clusterer, Model, TraversesCodes
from genlab.core.values import Value
from genlab.evaluation.evaluators.latent.features import labels
from genlab.registry import EVALUATORS, Cadence, Count, Duration, PositiveFloat, PositiveInt
from genlab.reports.grid import image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split

Counts = NDArray[np.int64]


@EVALUATORS("clustering_accuracy")
class ClusteringAccuracy:
    """The error of a model's categories as a classifier, once each has been given a class by the training images.

    `error`: no two categories have the same class, and the assignment is the best such one (Hungarian method).
    `majority_error`: each category has the class that most of its training images are of. Which class a category stands
    for is settled on the training split, the error is of the images of the split asked for.
    """

    split: str | None = "valid"

    def __init__(self, batch_size: PositiveInt = 500, every: Cadence = None) -> None:
        self.batch_size, self.every = batch_size, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Clusterer)

    def check(self, split: Split) -> None:
        labels(split)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
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

    def protocol(self) -> dict[str, Any]:
        return {
            "classes of categories": "from the training split",
            "error": "one class a category (Hungarian method)",
            "batch normalisation": "by its running statistics",
        }


def one_to_one(counts: Counts) -> Counts:
    """The class of each category, none twice, by which most of `counts` are right; -1: there is none left."""
    from scipy.optimize import linear_sum_assignment

    assigned = np.full(len(counts), -1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    assigned[rows] = columns
    return assigned


def error(counts: Counts, assigned: Counts) -> float:
    """The share of `counts` (categories, classes) that is not of its category's class."""
    right = sum(int(row[of]) for row, of in zip(counts, assigned, strict=True) if of >= 0)
    return 1 - right / int(counts.sum())


@EVALUATORS("code_traversals")
class CodeTraversals:
    """For each continuous code a picture: a row for each category, along which this code alone changes.

    It goes from −`reach` to `reach`, beyond the law in [-1, 1] that training knows; all images share their noise.
    """

    split: str | None = None

    def __init__(self, columns: Count = 10, reach: PositiveFloat = 2.0, every: Duration | None = "20%") -> None:
        self.columns, self.reach, self.every = columns, reach, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, TraversesCodes) and model.continuous > 0

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert isinstance(model, TraversesCodes)
        base = model.prior(1)
        for code in range(model.continuous):
            walk = model.walk(base, code, torch.linspace(-self.reach, self.reach, self.columns, device=base.device))
            yield f"code_traversals_{code + 1}", image_grid(model.decode(walk), self.columns)

    def protocol(self) -> dict[str, Any]:
        return {"columns": self.columns, "reach": self.reach}

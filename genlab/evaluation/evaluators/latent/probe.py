"""The quality of frozen features, measured by simple classifiers: a linear one, and nearest neighbors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import MinLen
from numpy.typing import NDArray

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.evaluators.latent.features import Kind, check_kind, features, labeled, labels, standardized
from genlab.registry import EVALUATORS, PositiveFloat, PositiveInt


@dataclass
class FrozenFeatures(Evaluator):
    """A classifier on frozen features of `num_labels` training images (None: all), measured on a split."""

    features: Kind = "code"
    num_labels: PositiveInt | None = None
    batch_size: PositiveInt = 500

    notes = {"standardized": "by the mean and deviation of the training features"}

    def applies(self, model: Model) -> bool:
        return check_kind(model, self.features)

    def check(self, model: Any, split: Split) -> None:
        labels(split)

    def read(self, model: Model, *splits: Split) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Standardized features and labels of each split; mean and deviation are those of the first."""
        found = standardized(*(features(model, split, self.features, self.batch_size) for split in splits))
        return [(each, labels(split)) for each, split in zip(found, splits, strict=True)]


@EVALUATORS("probe")
@dataclass
class Probe(FrozenFeatures):
    """Multinomial logistic regression on frozen features. Each of the `regularization` strengths C is tried, the
    smallest first; the one with the fewest errors on the validation split is kept, whatever split is then measured.

    `accuracy` and `error` are fractions; `C` is the strength kept; `fitted` is 1 if the fit converged.
    """

    regularization: Annotated[tuple[PositiveFloat, ...], MinLen(1)] = (0.001, 0.01, 0.1, 1.0)
    iterations: PositiveInt = 300

    notes = {"classifier": "multinomial logistic regression", "C": "by validation error", **FrozenFeatures.notes}

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        drawn = labeled(split.sibling("train"), self.num_labels)  # before the model may draw noise of its own
        train, valid, test = self.read(model, drawn, split.sibling("valid"), split)
        best: tuple[float, float, Any] | None = None
        for strength in sorted(self.regularization):
            classifier = self.fit(strength, *train, start=best[2] if best else None)
            correct = classifier.score(*valid)
            if best is None or correct > best[0]:  # a tie goes to the stronger regularization
                best = correct, strength, classifier
        assert best is not None
        correct, strength, classifier = best
        accuracy = float(classifier.score(*test))
        yield "accuracy", accuracy
        yield "error", 1 - accuracy
        yield "valid_accuracy", float(correct)
        yield "C", strength
        yield "fitted", float(classifier.n_iter_.max() < self.iterations)

    def fit(self, strength: float, x: NDArray[Any], y: NDArray[Any], start: Any) -> Any:
        """A classifier of inverse regularization `strength`, starting from the weights of `start`."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        classifier = LogisticRegression(C=strength, max_iter=self.iterations, warm_start=True)
        if start is not None:
            classifier.coef_, classifier.intercept_ = start.coef_.copy(), start.intercept_.copy()
            classifier.classes_ = start.classes_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `fitted` says it
            return classifier.fit(x, y)


@EVALUATORS("knn")
@dataclass
class NearestNeighbors(FrozenFeatures):
    """The vote of the k nearest training images, by Euclidean distance of frozen features; figures are fractions."""

    k: PositiveInt = 5

    notes = {"distance": "Euclidean", **FrozenFeatures.notes}

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        from sklearn.neighbors import KNeighborsClassifier

        train, test = self.read(model, labeled(split.sibling("train"), self.num_labels), split)
        classifier = KNeighborsClassifier(min(self.k, len(train[0])), algorithm="brute").fit(*train)
        accuracy = float(classifier.score(*test))
        yield "accuracy", accuracy
        yield "error", 1 - accuracy

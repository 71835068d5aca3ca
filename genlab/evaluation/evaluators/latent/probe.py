"""What frozen features are worth to a simple classifier: a linear one, and the nearest neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import MinLen

from genlab.core.model import Model
from genlab.core.values import Value
from genlab.evaluation.evaluators.latent.features import Kind, check_kind, features, labeled, labels, standardized
from genlab.registry import EVALUATORS, Duration, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genlab.data.dataset import Split


class Frozen:
    """What both share: features of `num_labels` training images (None: all), of the validation images, and a split."""

    split: str | None = "valid"

    def __init__(
        self, features: Kind = "code", num_labels: PositiveInt | None = None, batch_size: PositiveInt = 500
    ) -> None:
        self.features, self.num_labels, self.batch_size = features, num_labels, batch_size

    def applies(self, model: Model) -> bool:
        return check_kind(model, self.features)

    def check(self, split: Split) -> None:
        labels(split)

    def read(self, model: Model, *splits: Split) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Standardised features and labels of each split; the first is what standardises them all."""
        found = standardized(*(features(model, split, self.features, self.batch_size) for split in splits))
        return [(each, labels(split)) for each, split in zip(found, splits, strict=True)]

    def protocol(self) -> dict[str, Any]:
        return {"features": f"{self.features}, standardised", "num_labels": self.num_labels or "all of train"}


@EVALUATORS("probe")
class Probe(Frozen):
    """Multinomial logistic regression on frozen features. Each of the `regularization` strengths C is tried, the
    smallest first; the one with the fewest errors on the validation split is kept, whatever split is then measured.

    `accuracy` and `error` are shares of 1; `C` is the strength kept; `fitted` is 1 if the fit converged.
    """

    def __init__(
        self,
        features: Kind = "code",
        num_labels: PositiveInt | None = None,
        regularization: Annotated[list[PositiveFloat], MinLen(1)] = [0.001, 0.01, 0.1, 1.0],  # noqa: B006
        iterations: PositiveInt = 300,
        batch_size: PositiveInt = 500,
        every: Duration | None = None,
    ) -> None:
        super().__init__(features, num_labels, batch_size)
        self.regularization, self.iterations, self.every = sorted(regularization), iterations, every

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        drawn = labeled(split.sibling("train"), self.num_labels)  # before the model may draw noise of its own
        train, valid, judged = self.read(model, drawn, split.sibling("valid"), split)
        best: tuple[float, float, Any] | None = None
        for strength in self.regularization:
            classifier = self.fit(strength, *train, start=best[2] if best else None)
            correct = classifier.score(*valid)
            if best is None or correct > best[0]:  # a tie goes to the stronger regularisation
                best = correct, strength, classifier
        assert best is not None
        correct, strength, classifier = best
        accuracy = float(classifier.score(*judged))
        yield "accuracy", accuracy
        yield "error", 1 - accuracy
        yield "valid_accuracy", float(correct)
        yield "C", strength
        yield "fitted", float(classifier.n_iter_.max() < self.iterations)

    def fit(self, strength: float, x: NDArray[Any], y: NDArray[Any], start: Any) -> Any:
        """A classifier of inverse regularisation `strength`, begun at the weights of another, `start`."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        classifier = LogisticRegression(C=strength, max_iter=self.iterations, warm_start=True)
        if start is not None:
            classifier.coef_, classifier.intercept_ = start.coef_.copy(), start.intercept_.copy()
            classifier.classes_ = start.classes_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `fitted` says it
            return classifier.fit(x, y)

    def protocol(self) -> dict[str, Any]:
        return {
            **super().protocol(),
            "classifier": "multinomial logistic regression",
            "C": f"of {self.regularization}, by validation error",
            "iterations": self.iterations,
        }


@EVALUATORS("knn")
class Neighbours(Frozen):
    """The vote of the k nearest training images, by Euclidean distance between frozen features; shares of 1."""

    def __init__(
        self,
        k: PositiveInt = 5,
        features: Kind = "code",
        num_labels: PositiveInt | None = None,
        batch_size: PositiveInt = 500,
        every: Duration | None = None,
    ) -> None:
        super().__init__(features, num_labels, batch_size)
        self.k, self.every = k, every

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        from sklearn.neighbors import KNeighborsClassifier

        assert split is not None
        train, judged = self.read(model, labeled(split.sibling("train"), self.num_labels), split)
        classifier = KNeighborsClassifier(min(self.k, len(train[0])), algorithm="brute").fit(*train)
        accuracy = float(classifier.score(*judged))
        yield "accuracy", accuracy
        yield "error", 1 - accuracy

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "k": self.k, "distance": "Euclidean"}

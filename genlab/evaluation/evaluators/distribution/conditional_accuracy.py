"""Whether an independent classifier assigns conditional samples to the class that they were conditioned on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model, Samples
from genlab.core.sampling import sample_options
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.extractors.classifiers import classifier_of
from genlab.registry import EVALUATORS, PositiveInt

Predict = Callable[[Tensor], Any]  # images (N, C, H, W) in [0, 1] to classes (N,), a numpy array


@EVALUATORS("conditional_accuracy")
@dataclass
class ConditionalAccuracy(Evaluator):
    """The fraction of `images` samples, equally many of each class, that a classifier assigns to the requested class.

    `auto` uses the classifier shipped with genlab for this data set, if there is one. Otherwise, and with `mlp`,
    scikit-learn's MLPClassifier with `hidden` units is trained for `epochs` on the real training images.
    `classifier_accuracy` is its accuracy on the split's real images.
    """

    images: PositiveInt = 10_000
    classifier: Literal["auto", "mlp"] = "auto"
    hidden: PositiveInt = 256
    epochs: PositiveInt = 15

    repeats = 3

    def applies(self, model: Model) -> bool:
        return isinstance(model, Samples) and "label" in sample_options(model).model_fields

    def check(self, model: Any, split: Split) -> None:
        _classes(split)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        real = _classes(split)
        classes = sorted(set(_classes(split.sibling("train")).tolist()))
        if len(classes) < 2:
            raise ConfigError(
                f"every training image is of class {classes[0]}, so any sample would be right",
                "key dataset.classes",
                "use a run on more classes",
            )
        predict = self.predictor(split)
        each = -(-self.images // len(classes))
        right = [_accuracy(predict, model, each, label) for label in classes]
        found = [predict(image) for (image,) in split.batches(("image",), 500)]
        yield "conditional_accuracy", sum(right) / len(right)
        yield "conditional_accuracy_worst_class", min(right)
        yield "classifier_accuracy", float((np.concatenate(found) == real.numpy()).mean())

    def predictor(self, split: Split) -> Predict:
        """The classifier; `found` then says which it is."""
        shipped = classifier_of(split.table.name) if self.classifier == "auto" else None
        if shipped is None:
            self.found = {"classifier": f"MLPClassifier, {self.hidden} hidden units, {self.epochs} epochs of train"}
            mlp = self._trained(split.sibling("train"))
            return lambda images: mlp.predict(images.flatten(1).cpu().numpy())
        self.found = {"classifier": shipped.name, "classifier_sha256": shipped.digest, "resize": shipped.resize}
        return lambda images: shipped.to(images.device).predict(images).cpu().numpy()

    def _trained(self, train: Split) -> Any:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        pixels = train.take(len(train), ("image",))[0].flatten(1).cpu().numpy()
        seed = int(torch.randint(2**31, ()))
        mlp = MLPClassifier((self.hidden,), batch_size=min(200, len(pixels)), max_iter=self.epochs, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
            return mlp.fit(pixels, _classes(train).numpy())


def _accuracy(predict: Predict, model: Any, n: int, label: int) -> float:
    parts = [min(500, n - done) for done in range(0, n, 500)]
    right = sum(int((predict(model.sample(part, label=label)) == label).sum()) for part in parts)
    return right / n


def _classes(split: Split) -> Tensor:
    """The class (N,) of each image of a split; ConfigError if an image has none, or several."""
    classes = split.classes()
    if classes is None:
        raise ConfigError(
            "conditional_accuracy needs one class per image", "the data set has no such labels", "choose another"
        )
    return classes

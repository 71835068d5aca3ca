"""Whether images drawn with a label look like that label to somebody else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from genlab.core.model import Model, Samples
from genlab.core.values import Value
from genlab.errors import ConfigError
from genlab.evaluation.extraction import choose, own
from genlab.evaluation.extractors.classifiers import SmallClassifier
from genlab.registry import EVALUATORS, Cadence, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split


Predict = Callable[[Tensor], Any]  # images (N, C, H, W) in [0, 1] to classes (N,), a numpy array


@EVALUATORS("conditional_accuracy")
class ConditionalAccuracy:
    """The share of `images` samples, each class as often, that a classifier gives the class that was asked for.

    The classifier (`auto`) is the one that comes with genlab for this data set, if there is one; else, or by `mlp`,
    scikit-learn's MLPClassifier with `hidden` units, trained here for `epochs` on the real training images alone.
    `classifier_accuracy` is its own on the split's real images.
    """

    split: str | None = "valid"

    def __init__(
        self,
        images: PositiveInt = 10_000,
        classifier: Literal["auto", "mlp"] = "auto",
        hidden: PositiveInt = 256,
        epochs: PositiveInt = 15,
        every: Cadence = None,
    ) -> None:
        self.images, self.classifier, self.hidden, self.epochs, self.every = images, classifier, hidden, epochs, every
        self._said: dict[str, Any] = {}

    def applies(self, model: Model) -> bool:
        return isinstance(model, Samples) and "label" in inspect.signature(model.sample).parameters

    def check(self, split: Split) -> None:
        _classes(split)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        real = _classes(split)
        classes = sorted(set(_classes(split.sibling("train")).tolist()))
        if len(classes) < 2:
            raise ConfigError(
                f"every training image is of class {classes[0]}, so that any sample would agree",
                "key dataset.classes",
                "use a run on more classes",
            )
        predict = self._judge(split)
        each = -(-self.images // len(classes))
        right = [self._agreement(predict, model, each, label) for label in classes]
        found = [predict(image) for (image,) in split.batches(("image",), 500)]
        yield "conditional_accuracy", sum(right) / len(right)
        yield "conditional_accuracy_worst_class", min(right)
        yield "classifier_accuracy", float((np.concatenate(found) == real.numpy()).mean())

    def _judge(self, split: Split) -> Predict:
        name = own(split.table.name) if self.classifier == "auto" else None
        if name is None:
            self._said = {"classifier": f"MLPClassifier, {self.hidden} hidden units, {self.epochs} epochs of train"}
            judge = self._trained(split.sibling("train"))
            return lambda images: judge.predict(images.flatten(1).cpu().numpy())
        shipped = choose(name, split)
        assert isinstance(shipped, SmallClassifier)
        self._said = {"classifier": shipped.name, "classifier_sha256": shipped.digest, "resize": shipped.resize}
        return lambda images: shipped.to(images.device).predict(images).cpu().numpy()

    def _trained(self, train: Split) -> Any:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        pixels = train.first(len(train), ("image",))[0].flatten(1).cpu().numpy()
        seed = int(torch.randint(2**31, ()))
        judge = MLPClassifier((self.hidden,), batch_size=min(200, len(pixels)), max_iter=self.epochs, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is meant
            return judge.fit(pixels, _classes(train).numpy())

    @staticmethod
    def _agreement(predict: Predict, model: Any, n: int, label: int) -> float:
        parts = [min(500, n - done) for done in range(0, n, 500)]
        right = sum(int((predict(model.sample(part, label=label)) == label).sum()) for part in parts)
        return right / n

    def protocol(self) -> dict[str, Any]:
        return {"images": self.images, **(self._said or {"classifier": self.classifier})}


def _classes(split: Split) -> Tensor:
    """The class (N,) of each image of a split; ConfigError where an image has none, or several."""
    classes = split.classes()
    if classes is None:
        raise ConfigError(
            "conditional_accuracy needs one class an image", "the data set has no such labels", "choose another"
        )
    return classes

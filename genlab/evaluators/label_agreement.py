"""Whether images drawn with a label look like that label to somebody else."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from genlab.errors import ConfigError
from genlab.model import Model, Samples
from genlab.registry import EVALUATORS, Cadence, PositiveInt
from genlab.results import Value

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("label_agreement")
class LabelAgreement:
    """The share of `images` samples, each class as often, that a classifier gives the class that was asked for.

    The classifier is scikit-learn's MLPClassifier with `hidden` units, trained here for `epochs` on the real training
    images alone; `classifier_accuracy` is its own on the split's real images.
    """

    split: str | None = "valid"

    def __init__(
        self,
        images: PositiveInt = 10_000,
        hidden: PositiveInt = 256,
        epochs: PositiveInt = 15,
        every: Cadence = None,
    ) -> None:
        self.images, self.hidden, self.epochs, self.every = images, hidden, epochs, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Samples) and "label" in inspect.signature(model.sample).parameters

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        pixels, labels = _real(split.sibling("train"))
        classes = sorted(set(labels.tolist()))
        if len(classes) < 2:
            raise ConfigError(
                f"every training image is of class {classes[0]}, so that any sample would agree",
                "key dataset.classes",
                "use a run on more classes",
            )
        judge = self._trained(pixels, labels)
        each = -(-self.images // len(classes))
        right = [self._agreement(judge, model, each, label) for label in classes]
        yield "label_agreement", sum(right) / len(right)
        yield "label_agreement_worst_class", min(right)
        yield "classifier_accuracy", float(judge.score(*_real(split)))

    def _trained(self, pixels: Any, labels: Any) -> Any:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        seed = int(torch.randint(2**31, ()))
        judge = MLPClassifier((self.hidden,), batch_size=min(200, len(pixels)), max_iter=self.epochs, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is meant
            return judge.fit(pixels, labels)

    @staticmethod
    def _agreement(judge: Any, model: Any, n: int, label: int) -> float:
        parts = [min(500, n - done) for done in range(0, n, 500)]
        images = torch.cat([model.sample(part, label=label).flatten(1).cpu() for part in parts])
        return float((judge.predict(images.numpy()) == label).mean())

    def protocol(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "classifier": f"MLPClassifier, {self.hidden} hidden units, {self.epochs} epochs of the training split",
        }


def _real(split: Split) -> tuple[Any, Any]:
    """All pixels (N, D) and classes (N,) of a split, as numpy arrays."""
    image, label = split.first(len(split), ("image", "label"))
    if label.ndim != 1:
        raise ConfigError("label_agreement needs one class an image", "the data set has attributes", "choose another")
    return image.flatten(1).cpu().numpy(), label.cpu().numpy()

"""Anomaly detection: does a model that has learned the normal find the strange? (Ruff et al. 2018)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Gt, Lt, MinLen
from torch import Tensor

from genlab.core.model import Model, Scores
from genlab.core.values import Diagnosis, Picture, Value
from genlab.errors import ConfigError
from genlab.evaluation.anomaly import Rule, can_score, normal_threshold, scores
from genlab.registry import EVALUATORS, Count, Duration, NonNegativeInt, PositiveInt
from genlab.reports.grid import image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("anomaly")
class Anomaly:
    """AUROC of a split's images of other than the normal classes, and what a threshold on the score finds of them.

    `normal` are the normal classes; None: those that the model was trained on. `score` is the rule of
    genlab.evaluation.anomaly. The threshold is the `quantile` of training scores, over about `train_images` of them;
    the rates are of images above it. Where validation has normal images only, the validation images of
    other classes, the split `outside`, join it.
    """

    split: str | None = "valid"

    def __init__(
        self,
        normal: Annotated[list[NonNegativeInt], MinLen(1)] | None = None,
        score: Rule = "auto",
        quantile: Annotated[float, Gt(0), Lt(1)] = 0.95,
        train_images: PositiveInt = 5000,
        n: Count = 32,
        columns: Count = 8,
        every: Duration | None = None,
    ) -> None:
        self.normal, self.score, self.quantile, self.train_images = normal, score, quantile, train_images
        self.n, self.columns, self.every = n, columns, every

    def applies(self, model: Model) -> bool:
        return can_score(model)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        splits = _with_strange(split)
        score = torch.cat([scores(model, each, self.score) for each in splits])
        limit = normal_threshold(model, split.sibling("train"), self.quantile, self.score, self.train_images)
        yield "threshold", limit
        strange = self._strange(splits)
        if strange is not None and strange.any() and not strange.all():
            yield from self._rates(score, strange, limit, model)
        elif self.normal or strange is not None:
            yield "no_anomalies", Diagnosis(_one_sided(split.name, strange))
        yield "strangest_above_most_usual", self._picture(splits, score)

    def _strange(self, splits: list[Split]) -> Tensor | None:
        """Whether each image is of another than the normal classes (N,); None where nobody knows."""
        classes = [split.classes() for split in splits]
        trained_on = splits[0].sibling("train").classes()
        if any(each is None for each in classes) or trained_on is None:
            return None
        normal = trained_on.unique() if self.normal is None else torch.tensor(self._known(splits[0]))
        return ~torch.isin(torch.cat([each for each in classes if each is not None]), normal)

    def _known(self, split: Split) -> list[int]:
        """The normal classes that were given; ConfigError if the data set has no image of one of them."""
        there = split.table.columns["label"].unique().tolist()  # type: ignore[union-attr]
        missing = sorted(set(self.normal or ()).difference(there))
        if missing:
            raise ConfigError(
                f"no image is of class {missing[0]}",
                f"key normal; the data set has the classes {', '.join(map(str, there[:20]))}",
                "choose among them",
            )
        return self.normal or []

    def _rates(self, score: Tensor, strange: Tensor, limit: float, model: Model) -> Iterator[tuple[str, Value]]:
        from sklearn.metrics import roc_auc_score

        area = float(roc_auc_score(strange.numpy(), score.double().numpy()))
        yield "auroc", area
        yield "true_positive_rate", (score[strange] > limit).double().mean()
        yield "false_positive_rate", (score[~strange] > limit).double().mean()
        if area < 0.5:
            yield "below_chance", Diagnosis(_below_chance(area, model, self.score))

    def _picture(self, splits: list[Split], score: Tensor) -> Picture:
        """Rows of the images with the highest scores, then as many of the lowest."""
        each = min(max(self.n // 2, 1), len(score) // 2 or 1)
        order = score.argsort(descending=True, stable=True)
        chosen = torch.cat([order[:each], order[len(order) - each :]])
        rows = torch.cat([split.rows.cpu() for split in splits])[chosen]
        (images,) = splits[0].table.read(rows.to(splits[0].rows.device), ("image",))
        return image_grid(images, min(self.columns, each))

    def protocol(self) -> dict[str, Any]:
        return {
            "positive": "images of other than the normal classes",
            "normal": self.normal or "the classes of the training split",
            "score": self.score,
            "threshold": f"the {self.quantile:g} quantile of about {self.train_images} training scores",
        }


def _with_strange(split: Split) -> list[Split]:
    """The split, and for a validation split of some classes the validation images of the others."""
    if split.name != "valid":
        return [split]
    try:
        return [split, split.sibling("outside")]
    except ConfigError:  # the data set keeps all classes, or has no image of others
        return [split]


def _one_sided(name: str, strange: Tensor | None) -> str:
    if strange is None:
        return f"nothing says which image of the {name} split is strange: use evaluator.anomaly.normal=null"
    kind = "strange" if strange.all() else "normal"
    return (
        f"every image of the {name} split is {kind}, so there is nothing to tell apart: train on some classes, "
        "e.g. dataset.classes=[0]"
    )


def _below_chance(area: float, model: Model, rule: Rule) -> str:
    """What helps: another score, or a code through which strange images do not fit."""
    said = f"strange images score lower than normal ones (AUROC {area:.3f}, chance is 0.5): "
    if isinstance(model, Scores) and rule == "auto":
        return said + "judge by the reconstruction, evaluator.anomaly.score=reconstruction"
    width = getattr(model, "latent_dim", None)
    if "latent_dim" in inspect.signature(type(model)).parameters:
        return said + f"let less through the code, model.latent_dim={max(1, width // 4) if width else 4}"
    return said + "train for longer, trainer.epochs=100"

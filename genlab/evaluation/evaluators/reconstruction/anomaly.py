"""Anomaly detection: does a model of normal images recognize the others? (Ruff et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Gt, Lt, MinLen
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model, Scores
from genlab.core.values import Diagnosis, Image, Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.anomaly import Threshold, calibrate, can_score, scores
from genlab.registry import EVALUATORS, AnomalyRule, Count, NonNegativeInt, keyword_parameters
from genlab.reports.grid import image_grid


@EVALUATORS("anomaly")
@dataclass
class Anomaly(Evaluator):
    """AUROC of the images outside the normal classes, and the rates of images whose score exceeds a threshold.

    `normal` are the normal classes; None: those that the model was trained on. `score` is the rule of
    genlab.evaluation.anomaly. `valid_threshold` is the `quantile` of the scores of normal validation images; on
    them themselves there is no `false_positive_rate`. `valid_expected_rate`, with its 95 % interval, is the rate of
    other normal images above it. Without classes the rate of all images is `flagged_rate`. To validation images of the
    normal classes, those of others, the split `outside`, are added.
    """

    normal: Annotated[list[NonNegativeInt], MinLen(1)] | None = None
    score: AnomalyRule = "auto"
    quantile: Annotated[float, Gt(0), Lt(1)] = 0.95
    n: Count = 32
    columns: Count = 8

    notes = {"positive": "images outside the normal classes", "valid_threshold": "of the normal validation images"}

    def applies(self, model: Model) -> bool:
        return can_score(model)

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        splits = _with_outside(split)
        score = torch.cat([scores(model, each, self.score) for each in splits])
        anomalous = self._anomalous(splits)
        limit = self._threshold(model, split, score, anomalous)
        one_sided = anomalous is None or not anomalous.any() or bool(anomalous.all())
        if anomalous is not None and not one_sided:
            yield from self._ranking(score, anomalous, model)
        yield from _rates(score > limit.value, anomalous, split.name)
        yield "valid_expected_rate", limit.rate
        yield "valid_expected_rate_low", limit.low
        yield "valid_expected_rate_high", limit.high
        yield "valid_threshold", limit.value
        if one_sided and (self.normal or anomalous is not None):
            yield "no_anomalies", Diagnosis(_one_sided(split.name, anomalous))
        yield "most_and_least_anomalous", self._grid(splits, score)

    def _threshold(self, model: Model, split: Split, score: Tensor, anomalous: Tensor | None) -> Threshold:
        """From the normal validation images, whose scores are known if `split` is that of validation."""
        if split.name != "valid":
            valid = split.sibling("valid")
            parts = _with_outside(valid) if self.normal else [valid]
            score, anomalous = torch.cat([scores(model, each, self.score) for each in parts]), self._anomalous(parts)
        return calibrate(score if anomalous is None else score[~anomalous], self.quantile)

    def _anomalous(self, splits: list[Split]) -> Tensor | None:
        """Whether each image is outside the normal classes (N,); None if the data have no classes."""
        classes = [split.classes() for split in splits]
        trained_on = splits[0].sibling("train").classes()
        if any(each is None for each in classes) or trained_on is None:
            return None
        normal = trained_on.unique() if self.normal is None else torch.tensor(self._known(splits[0]))
        return ~torch.isin(torch.cat([each for each in classes if each is not None]), normal)

    def _known(self, split: Split) -> list[int]:
        """The normal classes from the configuration; ConfigError if the data set has no image of one of them."""
        there = split.table.columns["label"].unique().tolist()  # type: ignore[union-attr]
        missing = sorted(set(self.normal or ()).difference(there))
        if missing:
            raise ConfigError(
                f"no image is of class {missing[0]}",
                f"key evaluator.anomaly.normal; the data set has the classes {', '.join(map(str, there[:20]))}",
                "choose among them",
            )
        return self.normal or []

    def _ranking(self, score: Tensor, anomalous: Tensor, model: Model) -> Iterator[tuple[str, Value]]:
        from sklearn.metrics import roc_auc_score

        area = float(roc_auc_score(anomalous.numpy(), score.double().numpy()))
        yield "auroc", area
        if area < 0.5:
            yield "below_chance", Diagnosis(_below_chance(area, model, self.score))

    def _grid(self, splits: list[Split], score: Tensor) -> Image:
        """Rows of the images with the highest scores, then as many with the lowest."""
        each = min(max(self.n // 2, 1), len(score) // 2 or 1)
        order = score.argsort(descending=True, stable=True)
        chosen = torch.cat([order[:each], order[len(order) - each :]])
        rows = torch.cat([split.indices.cpu() for split in splits])[chosen]
        (images,) = splits[0].table.read(rows.to(splits[0].indices.device), ("image",))
        return image_grid(images, min(self.columns, each))

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "normal": self.normal or "the classes of the training split"}


def _rates(above: Tensor, anomalous: Tensor | None, split: str) -> Iterator[tuple[str, Value]]:
    """The shares of images above the threshold (N,): not of the normal validation images, which set it."""
    if anomalous is not None and anomalous.any():
        yield "true_positive_rate", above[anomalous].double().mean()
    if split == "valid":
        return
    if anomalous is None:
        yield "flagged_rate", above.double().mean()
    elif not anomalous.all():
        yield "false_positive_rate", above[~anomalous].double().mean()


def _with_outside(split: Split) -> list[Split]:
    """The split, and for a validation split of some classes the validation images of the others."""
    if split.name != "valid":
        return [split]
    try:
        return [split, split.sibling("outside")]
    except ConfigError:  # the run trains on all classes, or the data set has no others
        return [split]


def _one_sided(name: str, anomalous: Tensor | None) -> str:
    if anomalous is None:
        return (
            f"the images of the {name} split have no class that could be anomalous: use evaluator.anomaly.normal=null"
        )
    kind = "anomalous" if anomalous.all() else "normal"
    return (
        f"every image of the {name} split is {kind}, so AUROC is undefined: train on some classes, "
        "e.g. dataset.classes=[0]"
    )


def _below_chance(area: float, model: Model, rule: AnomalyRule) -> str:
    """The diagnosis: use another score, or a smaller code that cannot represent anomalous images."""
    found = f"anomalous images score lower than normal ones (AUROC {area:.3f}, chance is 0.5): "
    if isinstance(model, Scores) and rule == "auto":
        return found + "use the reconstruction error, evaluator.anomaly.score=reconstruction"
    width = getattr(model, "latent_dim", None)
    if "latent_dim" in keyword_parameters(type(model)):
        return found + f"make the code smaller, model.latent_dim={max(1, width // 4) if width else 4}"
    return found + "train for longer, trainer.epochs=100"

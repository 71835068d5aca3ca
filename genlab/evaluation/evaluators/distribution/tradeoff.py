"""What an option of a model's samples trades: fidelity against variety as guidance or truncation changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.evaluator import SamplesEvaluator
from genlab.core.model import Model, Samples
from genlab.core.sampling import checked_options, classes_in_turn, sample_batches, sample_options
from genlab.core.values import Image, Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.distribution.conditional_accuracy import ConditionalAccuracy, Predict
from genlab.evaluation.evaluators.distribution.distances import Coverage, FrechetDistance
from genlab.evaluation.evaluators.distribution.feature_sets import Drawn, FeatureSets, Several
from genlab.evaluation.extraction import AUTO, BATCH, ExtractorName
from genlab.registry import EVALUATORS, PositiveInt
from genlab.reports.curve_plot import curve_plot
from genlab.runs.evaluations import SEED_SD

SHARES = ("accuracy", "precision", "recall")  # the lines of the chart: each is a fraction


@EVALUATORS("tradeoff")
@dataclass
class Tradeoff(SamplesEvaluator):
    """FID, precision, recall and, of class-conditional models, accuracy of samples at several `values` of an `option`.

    Higher guidance (Ho & Salimans 2022) or lower truncation (Brock et al. 2019) raises precision and accuracy and
    lowers recall. All sets of `images` samples start from the same noise. `accuracy` is the fraction that a classifier
    assigns to the requested class, each class as often. Metrics are named `recall_<extractor>/guidance_2`.
    """

    option: str = "guidance"
    values: tuple[float, ...] = (0, 1, 1.5, 2, 3, 5)
    images: Several = 2000
    measures: tuple[Literal["fid", "prdc"], ...] = ("fid", "prdc")
    k: PositiveInt = 5
    extractor: ExtractorName = AUTO
    batch_size: PositiveInt = BATCH

    def applies(self, model: Model) -> bool:
        return isinstance(model, Samples) and self.option in sample_options(model).model_fields

    def instead(self, model: Model) -> str | None:
        fields = sample_options(model).model_fields if isinstance(model, Samples) else {}
        return next((f"option={name}" for name in ("guidance", "truncation", "temperature") if name in fields), None)

    def check(self, model: Any, split: Split) -> None:
        if split.points:
            raise ConfigError("there is no classifier of points", "the data set", "use evaluator=modes")
        if self.option in (self.sampling or {}):
            raise ConfigError(
                f"'{self.option}' is the option that changes", f"key {self.key}.sampling", f"use {self.key}.values"
            )
        for value in self.values:
            checked_options(model, self.at(value), f"{self.key}.values")
        for measure in self.chosen():
            measure.check(Drawn(torch.empty(0)), split)

    def at(self, value: float) -> dict[str, Any]:
        return {**(self.sampling or {}), self.option: value}

    def chosen(self) -> Iterator[FeatureSets]:
        """The evaluators of each set of samples."""
        same: dict[str, Any] = {
            "images": self.images,
            "extractor": self.extractor,
            "batch_size": self.batch_size,
            "key": self.key,
        }
        if "fid" in self.measures:
            yield FrechetDistance(**same)
        if "prdc" in self.measures:
            yield Coverage(**same, k=self.k)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        self.check(model, split)
        judge = ConditionalAccuracy(key=self.key)
        predict = judge.predictor(split) if classes_in_turn(model) and "label" not in (self.sampling or {}) else None
        levels: dict[str, Value] = {}
        for value in self.values:
            images = self.drawn(model, value)
            if predict:
                yield named("accuracy", self.option, value), self.accuracy(predict, model, images)
            for measure in self.chosen():
                for name, figure in measure.run(Drawn(images), split):
                    if name.endswith(("_floor", "_real")):
                        levels[name] = figure
                    else:
                        yield named(name, self.option, value), figure
                self.found |= measure.found
            self.found |= judge.found
        yield from levels.items()

    def drawn(self, model: Samples, value: float) -> Tensor:
        """`images` samples; each time from the same noise."""
        rng.fold_in(0)
        options = checked_options(model, self.at(value), f"{self.key}.values")
        return torch.cat([*sample_batches(model, self.images, self.batch_size, **options)])

    def accuracy(self, predict: Predict, model: Any, images: Tensor) -> float:
        """The fraction of samples, whose classes take turns, that are of their class."""
        found = [torch.as_tensor(predict(part)) for part in images.split(self.batch_size)]
        wanted = torch.arange(len(images)) % (classes_in_turn(model) or 1)
        return float((torch.cat(found).cpu() == wanted).double().mean())

    def charts(self, numbers: Mapping[str, float]) -> Iterator[tuple[str, Image]]:
        found = {share: self.line(numbers, share) for share in SHARES}
        lines = {share: points for share, points in found.items() if points}
        if lines:
            title = f"samples against {self.option}"
            yield f"{self.option}_tradeoff", curve_plot(lines, title, self.option, log_y=False, levels={}, log_x=False)

    def line(self, numbers: Mapping[str, float], share: str) -> list[tuple[float, float, float]]:
        """The points (value, mean, deviation over seeds or 0) of a metric, whatever its extractor."""
        names = [name for name in numbers if name.split("/")[0].split("_")[0] == share]
        return [
            (value, numbers[name], numbers.get(f"{name}{SEED_SD}") or 0.0)
            for value in self.values
            for name in names
            if name == named(name.split("/")[0], self.option, value)
        ]


def named(metric: str, option: str, value: float) -> str:
    return f"{metric}/{option}_{value:g}"

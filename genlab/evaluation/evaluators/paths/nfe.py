"""Sample quality against the number of network calls (NFE, number of function evaluations)."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.evaluator import Evaluator
from genlab.core.model import Model
from genlab.core.sampling import checked_options, classes_in_turn, network_calls, sample_batches, sample_options
from genlab.core.values import Image, Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.distribution.distances import FrechetDistance
from genlab.evaluation.evaluators.distribution.feature_sets import Drawn, Several
from genlab.evaluation.evaluators.distribution.modes import Modes
from genlab.evaluation.extraction import AUTO, BATCH, ExtractorName
from genlab.evaluation.sampling_path import has_steps
from genlab.registry import EVALUATORS, Count, PositiveInt, check_keywords
from genlab.reports.curve_plot import Points, curve_plot
from genlab.runs.evaluations import SEED_SD

SECONDS = "seconds_per_image"
OF_POINTS = "high_quality"  # of evaluator modes: the fraction of samples near a mode
AXIS = "calls of the network per sample"


@EVALUATORS("nfe")
@dataclass
class QualityByCalls(Evaluator):
    """The FID of `images` samples that take 1, 2, 4, ... `calls` of the network, and the seconds that each takes.

    Of points, `high_quality`: the fraction near a mode. `samplers`: the options of the model's `sample` besides
    `steps`, a curve for each. A sample takes as many steps as the calls allow and is shown at the calls that it takes:
    a solver may call the network several times in a step, guidance doubles the calls. All samples of a curve start from
    the same noise. Metrics are named `fid_<extractor>/calls_8` or, with options, `.../solver_euler/calls_8`.
    """

    calls: tuple[Count, ...] = (1, 2, 4, 8, 16, 32, 64)
    samplers: tuple[dict[str, Any], ...] = field(default_factory=lambda: ({},))
    images: Several = 2000
    extractor: ExtractorName = AUTO
    batch_size: PositiveInt = BATCH

    notes = {"seconds": "of sampling alone, on the device and with the threads of this command"}

    def applies(self, model: Model) -> bool:
        return has_steps(model)

    def check(self, model: Any, split: Split) -> None:
        self.measure(split).check(model, split)
        for options in self.samplers:
            if "steps" in options:
                hint = f"leave out steps, and give {self.key}.calls"
                raise ConfigError("the calls decide how many steps there are", f"key {self.key}.samplers", hint)
            checked_options(model, {**options, "steps": 1}, f"{self.key}.samplers")

    def measure(self, split: Split) -> FrechetDistance | Modes:
        """The evaluator whose figures are drawn against the calls."""
        if split.points:
            return Modes(n=self.images, key=self.key)
        return FrechetDistance(self.images, self.extractor, batch_size=self.batch_size, key=self.key)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        self.check(model, split)
        taken: dict[str, dict[str, int]] = {}
        floor: dict[str, Value] = {}
        for given in self.samplers:
            options = check_keywords(sample_options(model), given, f"{self.key}.samplers")
            title = titled(given)
            steps_of = self.affordable(model, options)
            taken[title or "default"] = {f"calls_{calls}": steps for calls, steps in steps_of.items()}
            for calls, steps in steps_of.items():
                images, seconds = self.timed(model, {**options, "steps": steps})
                measure = self.measure(split)
                found = dict(measure.run(Drawn(images), split))
                name = OF_POINTS if split.points else next(iter(found))
                floor |= {key: value for key, value in found.items() if key == f"{name}_floor"}
                yield named(name, title, calls), found[name]
                yield named(SECONDS, title, calls), seconds / self.images
                in_turn = {"labels": "each class as often"} if classes_in_turn(model) and "label" not in given else {}
                self.found = {**measure.found, **in_turn, "steps": taken}
        yield from floor.items()

    def affordable(self, model: Any, options: Mapping[str, Any]) -> dict[int, int]:
        """The calls that samples of so many steps take; the most steps for each of `calls`, fewest first.

        Each step after the first takes equally many. Calls for which the model lacks the steps are left out.
        """
        one, two = (network_calls(model, steps=steps, **options) for steps in (1, 2))
        found: dict[int, int] = {}
        for budget in sorted(self.calls):
            if budget >= one:
                steps = 1 + (budget - one) // (two - one)
                with contextlib.suppress(ConfigError):
                    found[network_calls(model, steps=steps, **options)] = steps
        if not found:
            raise ConfigError(f"a sample takes {one} calls or more", f"key {self.key}.calls", "give larger numbers")
        return found

    def timed(self, model: Any, options: Mapping[str, Any]) -> tuple[Tensor, float]:
        """`images` samples, and the seconds that they took; each time from the same noise."""
        rng.fold_in(0)
        began = time.perf_counter()
        images = torch.cat([*sample_batches(model, self.images, self.batch_size, **options)])
        float(images[-1].sum())  # waits for the device
        return images, time.perf_counter() - began

    def charts(self, numbers: Mapping[str, float]) -> Iterator[tuple[str, Image]]:
        for quality, lines in curves(numbers).items():
            if quality != SECONDS:
                yield f"{quality}_by_calls", quality_chart(quality, lines, numbers.get(f"{quality}_floor"))


def titled(options: Mapping[str, Any]) -> str:
    """Options as a part of a metric's name: `solver_euler-guidance_2`."""
    return "-".join(
        f"{key}_{value:g}" if isinstance(value, float) else f"{key}_{value}" for key, value in options.items()
    )


def named(quality: str, title: str, calls: int) -> str:
    return "/".join(filter(None, (quality, title, f"calls_{calls}")))


def curves(metrics: Mapping[str, float | None]) -> dict[str, dict[str, Points]]:
    """By quality and sampler the points (calls, mean, deviation over seeds or 0) that `nfe` has measured."""
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for name, value in metrics.items():
        match = re.fullmatch(r"([^/]+)(?:/([^/]+))?/calls_(\d+)", name)
        if match and value is not None:
            point = float(match[3]), value, metrics.get(f"{name}{SEED_SD}") or 0.0
            found.setdefault(match[1], {}).setdefault(match[2] or "", []).append(point)
    return {quality: dict(lines) for quality, lines in found.items()}


def quality_chart(quality: str, lines: Mapping[str, Points], floor: float | None) -> Image:
    """Lines of one quality against the calls; `floor` is that of real training images."""
    levels = {} if floor is None else {"training images": floor}
    return curve_plot(lines, quality, AXIS, log_y=quality != OF_POINTS, levels=levels)

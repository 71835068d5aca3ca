"""Curves of training for a figure: runs that differ only in the seed as their mean with a band."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from genlab.errors import ConfigError, nearest
from genlab.reports.charts import Curve
from genlab.reports.figure import Line, Panel
from genlab.reports.report import curves
from genlab.runs.metrics_file import records
from genlab.utils.own_folder import OwnFolder
from genlab.workflows.compare.groups import Group, Run
from genlab.workflows.compare.metrics import is_metric

Across = Literal["step", "images", "epoch", "seconds"]
Band = Literal["minmax", "sd", "none"]
BANDS = {"minmax": "mean, min–max", "sd": "mean ± sd"}
UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))  # of time, the largest that fills two comes first
MAIN = "valid"  # the split that is drawn solid where a panel has several
Scale = Callable[[Run, np.ndarray], np.ndarray]  # a run's steps -> places on the x axis
Points = Sequence[tuple[float, float]]  # step and value


@dataclass(frozen=True)
class Drawing:
    """What a figure shows: panels, the name of the x axis, and the title of the legend."""

    panels: Sequence[Panel]
    across: str
    legend: str


def drawing(groups: Sequence[Group], metrics: Sequence[str], across: Across, smooth: float, band: Band) -> Drawing:
    """A panel for each name of a metric (`elbo`), of all splits that are wanted of it.

    `smooth` in [0, 1): each run is an exponential moving average with this weight of the past. ConfigError for a metric
    that no run has.
    """
    found = {run.path: curves(run.path) for group in groups for run in group.runs}
    chosen = matching(
        metrics, {f"{split}/{name}" for names in found.values() for name in names for split in names[name]}
    )
    scale, label = _scale([run for group in groups for run in group.runs], across)
    several = any(len(group.runs) > 1 for group in groups)
    panels = []
    for name, splits in chosen.items():
        lines = []
        for group, split in itertools.product(groups, splits):
            points = [(run, found[run.path].get(name, {}).get(split)) for run in group.runs]
            if any(each for _, each in points):
                lines.append(_line(_entry(group, several), [(run, each) for run, each in points if each],
                                   scale, smooth, band, dashed=split != splits[0]))  # fmt: skip
        title = f"{splits[0]}/{name}" if len(splits) == 1 else name
        dashes = f"{splits[1]} (solid: {splits[0]})" if len(splits) == 2 else ""
        panels.append(Panel(title + (f", smoothed ({smooth:g})" if smooth else ""), lines, dashes))
    return Drawing(panels, label, f"{BANDS[band]} over seeds" if several and band != "none" else "")


def matching(words: Sequence[str], known: Iterable[str]) -> dict[str, list[str]]:
    """Name -> splits, at most two, of the known metrics (`valid/fid_mnist`) that fit a word: the whole or the name,
    patterns allowed, else the first words of the name (`fid`). `valid` comes first. ConfigError if none fits."""
    names, found = sorted(known), dict[str, list[str]]()
    for word in words:
        fitting = [full for full in names if fnmatchcase(full, word) or fnmatchcase(full.partition("/")[2], word)]
        numbers = dict.fromkeys(names)
        begun = [full for full in names if full.partition("/")[2].startswith(f"{word}_") and is_metric(full, numbers)]
        if not fitting and not begun:
            bare = names if "/" in word else [full.partition("/")[2] for full in names]
            raise ConfigError(f"no run has the metric '{word[:60]}'", "key metric", nearest(word, set(bare)))
        for full in fitting or begun:
            split, _, name = full.partition("/")
            splits = found.setdefault(name, [])
            splits += [split] if split not in splits else []
    return {name: sorted(splits, key=lambda split: (split != MAIN, split))[:2] for name, splits in found.items()}


def monitored(groups: Sequence[Group]) -> str:
    """The metric that all runs monitor. ConfigError if there is no such one."""
    names = {(run.record.get("best") or {}).get("metric") for group in groups for run in group.runs}
    if len(names) > 1 or None in names:
        raise ConfigError("the runs monitor no common metric", "key metric", "name one, e.g. metric=train/loss")
    return str(names.pop())


def _entry(group: Group, several: bool) -> str:
    count = len(group.runs)
    return f"{group.label} ({count} seed{'s' if count > 1 else ''})" if several else group.label


def _line(
    series: str, lines: Sequence[tuple[Run, Points]], scale: Scale, smooth: float, band: Band, dashed: bool
) -> Line:
    """The mean of runs at the steps at which all have a value, over the mean of their places on the x axis."""
    steps, values = at_shared_steps([smoothed(points, smooth) for _, points in lines])
    x = np.mean([scale(run, steps) for run, _ in lines], axis=0)
    y = values.mean(0)
    if len(values) < 2 or band == "none":
        return Line(series, x, y, None, dashed)
    if band == "minmax":
        return Line(series, x, y, (values.min(0), values.max(0)), dashed)
    sd = values.std(0, ddof=1)
    return Line(series, x, y, (y - sd, y + sd), dashed)


def at_shared_steps(lines: Sequence[Points]) -> tuple[np.ndarray, np.ndarray]:
    """The steps (T,) at which all lines have a point, in order, and the values (N, T) there."""
    tables = [dict(points) for points in lines]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    return np.array(shared, float), np.array([[table[step] for step in shared] for table in tables])


def smoothed(points: Points, weight: float) -> list[tuple[float, float]]:
    """An exponential moving average without the pull of its start (Kingma & Ba 2015, section 3); NaN stays where it is
    and is left out of what follows."""
    average, total, found = 0.0, 0.0, []
    for step, value in points:
        if math.isfinite(value):
            average, total = weight * average + (1 - weight) * value, weight * total + (1 - weight)
        found.append((step, average / total if math.isfinite(value) else math.nan))
    return found


def _scale(runs: Sequence[Run], across: Across) -> tuple[Scale, str]:
    """How a run's steps lie on the x axis, and the name of the axis."""
    if across == "step":
        return (lambda run, steps: steps), "optimizer steps"
    if across == "images":
        return (lambda run, steps: steps * _batch_size(run)), "images seen"
    if across == "epoch":
        return (lambda run, steps: steps / _steps_per_epoch(run)), "epochs"
    clocks = {run.path: elapsed(run) for run in runs}
    longest = max((seconds[-1] for _, seconds in clocks.values() if len(seconds)), default=0.0)
    unit, length = next((each for each in UNITS if longest >= 2 * each[1]), UNITS[-1])
    return (lambda run, steps: np.interp(steps, *clocks[run.path]) / length), f"{unit} of training"


def elapsed(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Steps (T,) and the seconds (T,) after which they were logged, pauses between a stop and a resume left out."""
    curve, seconds, before = Curve(), 0.0, float(run.record.get("started") or 0)
    again = sorted(each["time"] if isinstance(each, Mapping) else each for each in run.record.get("resumed") or ())
    for _, record in records(OwnFolder(run.path)):
        now = float(record["time"])
        begun = again[
            : bisect.bisect_right(again, now)
        ]  # a process that resumed since the last record worked from then
        seconds += max(0.0, now - max([before, *begun]))
        before = now
        curve.add(record["step"], seconds)
    points = np.array(curve.points()).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _batch_size(run: Run) -> float:
    size = (run.config.get("trainer") or {}).get("batch_size")
    if type(size) is not int or size < 1:
        raise ConfigError("its configuration has no batch size", f"run {run.path}", "use x=step")
    return float(size)


def _steps_per_epoch(run: Run) -> float:
    """Of runs that do not say how many images they trained on: from the number of epochs, if that is their length."""
    images = ((run.record.get("data") or {}).get("sizes") or {}).get("train")
    if type(images) is int and images > 0:
        return images / _batch_size(run)
    epochs, steps = (run.config.get("trainer") or {}).get("epochs"), run.record.get("steps")
    if not steps or not isinstance(epochs, int | float) or (run.config["trainer"].get("steps")):
        raise ConfigError("its record does not say how long an epoch is", f"run {run.path}", "use x=images or x=step")
    return float(steps / epochs)

"""Bands: where the curves of an experiment's equal runs lie, and whether another run's curves lie there.

A band is made from a few finished runs of one experiment that differ in nothing but the seed. A curve is reduced to
points at steps that are about evenly spaced on a logarithmic axis; each is the mean of the values logged since the
point before, so that the noise of single batches matters little. A single point outside says little: of fifty equal
runs, several have one. A run is called outside only after PATIENCE points of one curve in succession.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, model_validator

from genlab.config.compose import search_path
from genlab.runs.metrics_file import records
from genlab.utils.files import parse_json, read_bounded
from genlab.utils.formatting import number
from genlab.utils.own_folder import OwnFolder

POINTS = 16  # of a curve, at most
PATIENCE = 3  # points in succession outside; measured: docs/reading-the-logs.md
COVERED = 0.99  # of equal runs lie within the band at a point, if their values are normally distributed
FLOOR = 0.005  # of the mean: the least half width, for curves that are almost the same in all runs
UNUSUAL = ("images_per_second", "learning_rate")  # depends on the machine; is part of the configuration
LIMIT = 2**20  # bytes of a file

Curve = Sequence[tuple[int, float]]  # step and value, in the order of the steps; NaN: not finite


class CurveBand(BaseModel):
    """The band of one curve: of each point its last step, how many values it is the mean of, and its bounds."""

    model_config = ConfigDict(extra="forbid")
    steps: list[int]
    counts: list[Annotated[int, Ge(1)]]
    low: list[float]
    high: list[float]

    @model_validator(mode="after")
    def _same_length(self) -> CurveBand:
        if len({len(self.steps), len(self.counts), len(self.low), len(self.high)}) != 1:
            raise ValueError("steps, counts, low and high differ in length")
        return self


class Band(BaseModel):
    """The bands of an experiment's curves by name, `split/name`; and of how many `runs` they are made."""

    model_config = ConfigDict(extra="forbid")
    experiment: str
    runs: Annotated[int, Ge(2)]
    config: dict[str, Any]  # the keys, dotted, on which the curves depend
    curves: dict[str, CurveBand]


def shipped() -> Iterable[Path]:
    """The files of genlab's own bands, one for an experiment."""
    return sorted((search_path() / "experiment" / "bands").glob("*.json"))


def read(path: Path) -> Band:
    """The band in a file. OSError or ValueError if it cannot be used."""
    return Band.model_validate(parse_json(read_bounded(path, LIMIT)))


# ---------------------------------------------------------------------- making a band


def make(experiment: str, config: Mapping[str, Any], runs: Sequence[Mapping[str, Curve]]) -> Band:
    """The band of `runs`, each its curves by name. Curves that the runs do not share, or of few points, have none."""
    shared = set.intersection(*map(set, runs)) if runs else set()
    found = {name: _curve_band([run[name] for run in runs]) for name in sorted(shared)
             if name.rpartition("/")[2] not in UNUSUAL}  # fmt: skip
    curves = {name: band for name, band in found.items() if band is not None}
    return Band(experiment=experiment, runs=len(runs), config=dict(config), curves=curves)


def _curve_band(runs: Sequence[Curve]) -> CurveBand | None:
    logged = [[step for step, _ in run] for run in runs]
    if any(steps != logged[0] for steps in logged) or not all(math.isfinite(value) for run in runs for _, value in run):
        return None
    ends = _spaced(logged[0])
    if len(ends) < PATIENCE:
        return None
    columns = [_points(run, ends) for run in runs]
    rows = [[points[i] for points in columns] for i in range(len(ends))]
    half = _half_widths(rows)
    means = [statistics.fmean(row) for row in rows]
    return CurveBand(
        steps=ends,
        counts=[sum(start < step <= end for step in logged[0]) for start, end in zip([-1, *ends], ends, strict=False)],
        low=[_rounded(mean - width) for mean, width in zip(means, half, strict=True)],
        high=[_rounded(mean + width) for mean, width in zip(means, half, strict=True)],
    )


def _spaced(steps: Sequence[int]) -> list[int]:
    """Some of the logged steps, the first and the last among them, about evenly spaced in the logarithm."""
    first, last = max(1, steps[0]), max(1, steps[-1])
    wanted = [first * (last / first) ** (i / (POINTS - 1)) for i in range(POINTS)]
    return sorted({min(steps, key=lambda step: abs(step - target)) for target in wanted})


def _points(run: Curve, ends: Sequence[int]) -> list[float]:
    return [
        statistics.fmean(value for step, value in run if start < step <= end)
        for start, end in zip([-1, *ends], ends, strict=False)
    ]


def _half_widths(rows: Sequence[Sequence[float]]) -> list[float]:
    """Of each point: its deviation over runs, pooled with that of its neighbors since a few runs tell little."""
    from scipy.stats import t  # imported here: runs only read bands

    n = len(rows[0])
    variances = [statistics.variance(row) for row in rows]
    width = float(t.ppf((1 + COVERED) / 2, n - 1)) * math.sqrt(1 + 1 / n)  # another run around the mean of n
    found = []
    for i, row in enumerate(rows):
        near = variances[max(0, i - 1) : i + 2]
        deviation = math.sqrt(statistics.fmean(near))
        found.append(width * deviation + FLOOR * abs(statistics.fmean(row)))
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


# ---------------------------------------------------------------------- judging a run


@dataclass
class Excursion:
    """Points in succession of one curve outside its band, from step `since` to step `until`; `value` and bounds there.

    `ended`: a later point is inside.
    """

    curve: str
    since: int
    until: int
    value: float | None
    low: float
    high: float
    points: int = 1
    ended: bool = False


@dataclass
class _Window:
    """The values of a curve since its last point."""

    total: float = 0.0
    count: int = 0


@dataclass
class Judge:
    """Compares the numbers of a run with a band while they are logged.

    A point counts only if the run logged at the same steps: with other cadences its values are means of other parts.
    """

    band: Band
    excursions: list[Excursion] = field(default_factory=list)  # those of at least PATIENCE points
    compared: int = 0  # points
    _windows: dict[str, _Window] = field(default_factory=dict)
    _running: dict[str, Excursion] = field(default_factory=dict)  # of curves that are outside now

    def add(self, step: int, split: str, values: Mapping[str, float | None]) -> None:
        """Numbers that the run logged at `step`; None is one that is not finite."""
        for name, value in values.items():
            curve = f"{split}/{name}"
            if curve in self.band.curves:
                self._add(curve, step, math.nan if value is None else value)

    def replay(self, run: Path) -> None:
        """What the run has logged in its metrics.jsonl."""
        for _, record in records(OwnFolder(run)):
            step, split, _ = record.pop("step"), record.pop("split"), record.pop("time")
            self.add(step, split, record)

    def found(self) -> dict[str, Any] | None:
        """What run.json holds; None if no point could be compared."""
        if not self.compared:
            return None
        return {"experiment": self.band.experiment, "runs": self.band.runs, "points": self.compared,
                "excursions": [asdict(each) for each in self.excursions]}  # fmt: skip

    def _add(self, curve: str, step: int, value: float) -> None:
        band, window = self.band.curves[curve], self._windows.setdefault(curve, _Window())
        window.total, window.count = window.total + value, window.count + 1
        point = next((i for i, end in enumerate(band.steps) if step <= end), None)
        if point is None or step < band.steps[point]:
            return
        self._windows[curve] = _Window()
        if window.count == band.counts[point]:
            self.compared += 1
            self._judge(curve, point, window.total / window.count)

    def _judge(self, curve: str, point: int, value: float) -> None:
        band = self.band.curves[curve]
        low, high = band.low[point], band.high[point]
        if low <= value <= high:  # False for NaN
            if ended := self._running.pop(curve, None):
                ended.ended = True
            return
        shown = value if math.isfinite(value) else None
        found = self._running.get(curve)
        if found is None:
            found = self._running[curve] = Excursion(curve, band.steps[point], band.steps[point], shown, low, high)
        else:
            found.until, found.value, found.low, found.high = band.steps[point], shown, low, high
            found.points += 1
        if found.points == PATIENCE:
            self.excursions.append(found)


def words(found: Mapping[str, Any]) -> str:
    """One line on `Judge.found`: inside, outside and since when, or back inside."""
    band = f"the band of {found['runs']} runs of experiment={found['experiment']}"
    excursions = sorted(found["excursions"], key=lambda each: (each["ended"], each["since"]))
    if not excursions:
        return f"inside {band}"
    first = excursions[0]
    if first["ended"]:
        return f"inside {band} again; {first['curve']} was outside from step {first['since']:,} to {first['until']:,}"
    value = "not finite" if first["value"] is None else number(first["value"])
    usual = f"{number(first['low'])} to {number(first['high'])}"
    others = sum(not each["ended"] for each in excursions) - 1
    more = f", and {others} more" if others else ""
    return f"outside {band} since step {first['since']:,}: {first['curve']} is {value}, usual is {usual}{more}"

"""The metrics of runs, each with what it depends on: only metrics that depend on the same things are compared."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from genlab.errors import ConfigError, nearest
from genlab.reports.evaluation_table import BOUNDS, DEVIATIONS
from genlab.reports.report import LAST_CHARTS
from genlab.runs import evaluations
from genlab.runs.evaluations import SEED_SD
from genlab.workflows.compare import protocols
from genlab.workflows.compare.groups import Group, Run
from genlab.workflows.compare.significance import Summary

TRAINING = "training"  # the source of the last metrics of training, in run.json
REFERENCES = ("_floor", "_real")  # endings of what a perfect model would score: metrics of the data
LARGEST = 1e100  # a run that diverged, or a stranger's file, may hold more


@dataclass(frozen=True)
class Key:
    """Which number: of `training` or of an evaluator, of a split, by name."""

    source: str
    split: str
    name: str

    def __str__(self) -> str:
        named = "/".join(filter(None, (self.split, self.name)))
        return named if self.source == TRAINING else f"{self.source}: {named}"


@dataclass(frozen=True)
class Metric:
    """A number under one protocol. `values`: for each group that has it, by letter and training seed, its mean and
    deviation over sampling seeds."""

    key: Key
    protocol: Mapping[str, Any]
    values: Mapping[str, Mapping[int, Summary]]

    @property
    def title(self) -> str:
        """The name with the evaluator's options, if they are not at their default."""
        options = {**(self.protocol.get("options") or {}), **protocols.taken(self.protocol, ("weights",))}
        return " ".join([str(self.key), *(f"{key}={json.dumps(value)}" for key, value in options.items())])

    def over_training(self, letter: str) -> Summary:
        """Mean and deviation over the training seeds of a group."""
        return Summary.of([each.mean for each in self.values[letter].values()])


@dataclass(frozen=True)
class _Number:
    """A number of one run: `summary` over sampling seeds."""

    key: Key
    protocol: dict[str, Any]
    summary: Summary


def metrics(groups: Sequence[Group]) -> tuple[list[Metric], dict[Key, str]]:
    """The metrics that two or more groups have under one protocol (or the only group has), and for the others the
    reason why they are not compared."""
    found: dict[Key, dict[str, Metric]] = {}
    for group in groups:
        for run in group.runs:
            for number in _numbers(run):
                _add(found.setdefault(number.key, {}), group.letter, run.seed, number)
    compared, refused = [], {}
    for key, by_protocol in found.items():
        shared = [metric for metric in by_protocol.values() if len(metric.values) > 1 or len(groups) == 1]
        compared += shared
        if not shared:
            refused[key] = _reason(list(by_protocol.values()))
    return compared, refused


def chosen(
    found: Sequence[Metric], refused: Mapping[Key, str], patterns: Sequence[str]
) -> tuple[list[Metric], dict[Key, str]]:
    """What `metrics` found, of names that fit one of `patterns` (`fid*`); all if there is none.

    ConfigError for a pattern that no name fits.
    """
    names = {key.name for key in (*(metric.key for metric in found), *refused)}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"no metric is named '{pattern[:60]}'", "metric=", nearest(pattern, names))

    def fits(key: Key) -> bool:
        return not patterns or any(fnmatchcase(key.name, pattern) for pattern in patterns)

    return [each for each in found if fits(each.key)], {key: why for key, why in refused.items() if fits(key)}


def _add(by_protocol: dict[str, Metric], letter: str, seed: int, number: _Number) -> None:
    metric = by_protocol.setdefault(protocols.text(number.protocol), Metric(number.key, number.protocol, {}))
    values = {**metric.values, letter: {**metric.values.get(letter, {}), seed: number.summary}}
    by_protocol[protocols.text(number.protocol)] = Metric(metric.key, metric.protocol, values)


def _reason(variants: Sequence[Metric]) -> str:
    """Why no two groups share a protocol."""
    letters = [letter for metric in variants for letter in metric.values]
    if len(set(letters)) == 1:
        return f"only {letters[0]} has it"
    first, second = next((a, b) for a in variants for b in variants if a.values.keys() != b.values.keys())
    keys = sorted(key for key in first.protocol.keys() | second.protocol.keys()
                  if protocols.text(first.protocol.get(key)) != protocols.text(second.protocol.get(key)))  # fmt: skip
    key = "model.name" if "model.name" in keys else keys[0]
    sides = [f"{'/'.join(each.values)}: {protocols.text(each.protocol.get(key))[:60]}" for each in (first, second)]
    more = f", and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"another {key} ({', '.join(sides)}{more})"


def _numbers(run: Run) -> Iterator[_Number]:
    """The comparable numbers of one run, of its last step."""
    yield from _of_training(run)
    results: dict[str, list[Mapping[str, Any]]] = {}
    for result in evaluations.read_all(run.path):
        if result["protocol"]["step"] == run.record["step"]:
            results.setdefault(protocols.text(protocols.of_result(result["protocol"], run)), []).append(result)
    for same in results.values():
        protocol = same[0]["protocol"]
        for name in (name for name in same[0]["metrics"] if is_metric(name, same[0]["metrics"])):
            summary = _over_sampling(name, same)
            if summary:
                key = Key(protocol["evaluator"], protocol["split"] or "", name)
                yield _Number(key, protocols.of_result(protocol, run, name), summary)


def _of_training(run: Run) -> Iterator[_Number]:
    """The last validation metrics."""
    metrics = run.record["metrics"]
    for full, value in metrics.items():
        split, _, name = full.partition("/")
        if not name or split == "train" or not _is_number(value) or not is_metric(full, metrics):
            continue
        yield _Number(Key(TRAINING, split, name), protocols.of_training(run, full), Summary.of([value]))


def is_metric(name: str, metrics: Mapping[str, Any]) -> bool:
    """Not the error bar of another number, the score of a perfect model, or a fact of the machine or the optimizer."""
    bar = any(name.endswith(end) and name.removesuffix(end) in metrics for end in (*DEVIATIONS, *BOUNDS))
    return not bar and not name.endswith(REFERENCES) and name.rpartition("/")[2] not in LAST_CHARTS


def _is_number(value: float | None) -> bool:
    """Whether it is known, finite, and can be squared."""
    return value is not None and abs(value) < LARGEST


def _over_sampling(name: str, results: Sequence[Mapping[str, Any]]) -> Summary | None:
    """A number over the sampling seeds of one run: of the result with most repeats, or of a result of each seed."""
    known = [each for each in results if _is_number(each["metrics"].get(name))]
    if not known:
        return None
    widest = max(known, key=_repeats)
    mean, sd = widest["metrics"][name], widest["metrics"].get(f"{name}{SEED_SD}")
    if _repeats(widest) > 1 and _is_number(sd):
        return Summary(mean, sd, _repeats(widest))
    return Summary.of(list({each["protocol"]["seed"]: each["metrics"][name] for each in known}.values()))


def _repeats(result: Mapping[str, Any]) -> int:
    found = result["protocol"].get("repeats", 1)
    return found if type(found) is int and found > 0 else 1


def spread(values: Mapping[int, Summary]) -> float | None:
    """The typical deviation over sampling seeds of a group's runs; None if each was measured once."""
    known = [each.sd**2 for each in values.values() if each.n > 1]
    return statistics.fmean(known) ** 0.5 if known else None

"""The figures of runs, each with what it depends on: only figures that depend on the same things are compared."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from genlab.reports.evaluation_table import BOUNDS, DEVIATIONS
from genlab.reports.report import LAST_CHARTS
from genlab.runs import evaluations
from genlab.runs.evaluations import SEED_SD
from genlab.workflows.compare.groups import Group, Run
from genlab.workflows.compare.significance import Summary

TRAINING = "training"  # the source of the last metrics of training, in run.json
OWN_UNITS = "as the model's losses"  # the `units` of an evaluator whose numbers only runs of one model share
# keys of `model` that leave the objective what it is: networks and sizes
SIZES = (
    "network", "generator", "discriminator", "encoder", "decoder", "prior", "head", "body", "latent_dim", "hidden",
    "num_embeddings", "embedding_dim", "couplings", "scales", "mapping_layers", "channel_base", "channel_max",
)  # fmt: skip
REFERENCES = ("_floor", "_real")  # endings of what a perfect model would score: figures of the data
LARGEST = 1e100  # a run that diverged, or a stranger's file, may hold more
# entries of a protocol that may differ: which noise, which checkpoint, on which machine
FREE = ("seed", "repeats", "step", "weights", "checkpoint_sha256", "device", "genlab", "caution")


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
class Figure:
    """A number under one protocol. `values`: for each group that has it, by letter and training seed, its mean and
    deviation over sampling seeds."""

    key: Key
    protocol: Mapping[str, Any]
    values: Mapping[str, Mapping[int, Summary]]

    @property
    def title(self) -> str:
        """The name with the evaluator's options, if they are not at their default."""
        options = self.protocol.get("options") or {}
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


def figures(groups: Sequence[Group], patterns: Sequence[str] = ()) -> tuple[list[Figure], dict[str, str]]:
    """The figures that two or more groups have under one protocol (or the only group has), and for the others the
    reason why they are not compared. `patterns` choose names (`fid*`); none: all."""
    found: dict[Key, dict[str, Figure]] = {}
    for group in groups:
        for run in group.runs:
            for number in _numbers(run):
                if not patterns or any(fnmatchcase(number.key.name, pattern) for pattern in patterns):
                    _add(found.setdefault(number.key, {}), group.letter, run.seed, number)
    compared, refused = [], {}
    for key, by_protocol in found.items():
        shared = [figure for figure in by_protocol.values() if len(figure.values) > 1 or len(groups) == 1]
        compared += shared
        if not shared:
            refused[str(key)] = _reason(list(by_protocol.values()))
    return compared, refused


def _add(by_protocol: dict[str, Figure], letter: str, seed: int, number: _Number) -> None:
    protocol = json.dumps(number.protocol, sort_keys=True, default=str)
    figure = by_protocol.setdefault(protocol, Figure(number.key, number.protocol, {}))
    values = {**figure.values, letter: {**figure.values.get(letter, {}), seed: number.summary}}
    by_protocol[protocol] = Figure(figure.key, figure.protocol, values)


def _reason(variants: Sequence[Figure]) -> str:
    """Why no two groups share a protocol."""
    letters = [letter for figure in variants for letter in figure.values]
    if len(set(letters)) == 1:
        return f"only {letters[0]} has it"
    first, second = next((a, b) for a in variants for b in variants if a.values.keys() != b.values.keys())
    keys = sorted(key for key in first.protocol.keys() | second.protocol.keys()
                  if first.protocol.get(key) != second.protocol.get(key))  # fmt: skip
    key = "model.name" if "model.name" in keys else keys[0]
    sides = [f"{'/'.join(figure.values)}: {json.dumps(figure.protocol.get(key), default=str)[:60]}"
             for figure in (first, second)]  # fmt: skip
    more = f", and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"another {key} ({', '.join(sides)}{more})"


def _numbers(run: Run) -> Iterator[_Number]:
    """The comparable numbers of one run, of its last step."""
    yield from _of_training(run)
    results: dict[str, list[Mapping[str, Any]]] = {}
    for result in evaluations.read_all(run.path):
        if result["protocol"]["step"] == run.record["step"]:
            protocol = json.dumps(_protocol(result["protocol"], run), sort_keys=True, default=str)
            results.setdefault(protocol, []).append(result)
    for same in results.values():
        protocol = same[0]["protocol"]
        for name in (name for name in same[0]["metrics"] if _is_figure(name, same[0]["metrics"])):
            summary = _over_sampling(name, same)
            if summary:
                key = Key(protocol["evaluator"], protocol["split"] or "", name)
                yield _Number(key, _protocol(protocol, run, name), summary)


def _of_training(run: Run) -> Iterator[_Number]:
    """The last validation metrics. run.json does not say which evaluator found which: those whose key is part of the
    name, and the objective."""
    metrics, protocols = run.record["metrics"], run.record.get("protocols") or {}
    for full, value in metrics.items():
        split, _, name = full.partition("/")
        if not name or split == "train" or not _is_number(value) or not _is_figure(full, metrics):
            continue
        named = {key: protocol for key, protocol in protocols.items() if key in name}
        own = {"units": OWN_UNITS} if not named else {}
        data = {"data_fingerprint": (run.record["data"] or {}).get("fingerprint")}
        yield _Number(Key(TRAINING, split, name), _protocol({**named, **own, **data}, run, name), Summary.of([value]))


def _is_figure(name: str, metrics: Mapping[str, Any]) -> bool:
    """Not the error bar of another number, the score of a perfect model, or a fact of the machine or the optimizer."""
    bar = any(name.endswith(end) and name.removesuffix(end) in metrics for end in (*DEVIATIONS, *BOUNDS))
    return not bar and not name.endswith(REFERENCES) and name.rpartition("/")[2] not in LAST_CHARTS


def _is_number(value: float | None) -> bool:
    """Whether it is known, finite, and can be squared."""
    return value is not None and abs(value) < LARGEST


def _protocol(protocol: Mapping[str, Any], run: Run, name: str = "") -> dict[str, Any]:
    """The entries that two numbers must share. Of a loss: also what defines it, which is every key of `model` but
    SIZES."""
    kept = {key: value for key, value in protocol.items() if key not in FREE}
    if kept.get("units") == OWN_UNITS:
        model = run.config["model"]
        kept["model.name"] = model["name"]
        if name.rpartition("/")[2] == "loss":
            defining = {key: value for key, value in model.items() if key not in SIZES}
            kept |= {f"model.{key}": value for key, value in defining.items()}
    return kept


def _over_sampling(name: str, results: Sequence[Mapping[str, Any]]) -> Summary | None:
    """A number over the sampling seeds of one run: of the result with most repeats, or of results of one seed each."""
    known = [each for each in results if _is_number(each["metrics"].get(name))]
    if not known:
        return None
    widest = max(known, key=_repeats)
    mean, sd = widest["metrics"][name], widest["metrics"].get(f"{name}{SEED_SD}")
    if _repeats(widest) > 1 and _is_number(sd):
        return Summary(mean, sd, _repeats(widest))
    return Summary.of([each["metrics"][name] for each in known])


def _repeats(result: Mapping[str, Any]) -> int:
    found = result["protocol"].get("repeats", 1)
    return found if type(found) is int and found > 0 else 1


def spread(values: Mapping[int, Summary]) -> float | None:
    """The typical deviation over sampling seeds of a group's runs; None if each was measured once."""
    known = [each.sd**2 for each in values.values() if each.n > 1]
    return statistics.fmean(known) ** 0.5 if known else None

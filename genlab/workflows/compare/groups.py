"""Runs in groups: those that differ in nothing but the seed, each group with a short label of what sets it apart."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.config.overrides import flatten, leaves
from genlab.errors import ConfigError, GenlabError
from genlab.runs import run_folder
from genlab.runs.provenance import config_hash
from genlab.utils.formatting import value_text

MOST_GROUPS = 26
FIRST = ("name", "dataset.name")  # keys that name a group before any other does
ENVIRONMENT = ("versions.torch", "git.commit", "device", "precision", "machine")  # of run.json: what else may matter
MISSING = "-"


@dataclass(frozen=True)
class Run:
    """A run, finished where figures are compared: its folder, seed, run.json and configuration."""

    path: Path
    seed: int
    record: Mapping[str, Any]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, in the order of their seeds, which differ. `letter` is A, B, ...; `label` says what
    sets the configuration apart."""

    letter: str
    label: str
    runs: tuple[Run, ...]

    @property
    def config(self) -> Mapping[str, Any]:
        """Every key but the seed."""
        return _without_seed(self.runs[0].config)

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]


def grouped(
    records: Iterable[Mapping[str, Any]], most: int | None = MOST_GROUPS, unfinished: bool = False
) -> tuple[list[Group], list[str]]:
    """Groups in the order in which they are first met, and why runs were left out.

    `records` as of `genlab.runs.selection.select`; runs that are not done are taken only if `unfinished`. ConfigError
    if no run can be used, or if there are more than `most` groups.
    """
    left_out: list[str] = []
    by_config: dict[str, list[Run]] = {}
    for run in _usable(records, left_out, unfinished):
        by_config.setdefault(config_hash(_without_seed(run.config)), []).append(run)
    if not by_config:
        hint = "name other runs" if unfinished else "name runs that are done"
        raise ConfigError("no run can be compared", "; ".join(left_out[:3]), hint)
    if most is not None and len(by_config) > most:
        raise ConfigError(
            f"{len(by_config)} configurations are too many", f"at most {most} are compared", "name fewer runs"
        )
    distinct = [_one_per_seed(runs, left_out) for runs in by_config.values()]
    labels = _labels([_leaves(runs[0].config) for runs in distinct])
    return [Group(*each) for each in zip(_letters(), labels, distinct, strict=False)], left_out


def _letters() -> Iterator[str]:
    """A, B, ..., Z, AA, AB, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_uppercase, repeat=length))


def _usable(records: Iterable[Mapping[str, Any]], left_out: list[str], unfinished: bool) -> Iterator[Run]:
    for record in records:
        path = Path(record["path"])
        if record["status"] == "damaged" or (record["status"] != "done" and not unfinished):
            left_out.append(f"{path}: {record['status']}")
            continue
        try:
            config = run_folder.read_config(path)
        except GenlabError as error:
            left_out.append(f"{path}: {error}")
            continue
        seed, model = config.get("seed"), config.get("model")
        if type(seed) is int and isinstance(model, Mapping) and "name" in model:
            yield Run(path, seed, record, config)
        else:
            left_out.append(f"{path}: its configuration has no seed or no model")


def _one_per_seed(runs: Sequence[Run], left_out: list[str]) -> tuple[Run, ...]:
    """The newest run of each seed: two of the same configuration and seed are not independent."""
    newest: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.record["started"]):
        if (older := newest.get(run.seed)) is not None:
            left_out.append(f"{older.path}: same configuration and seed as {run.path}")
        newest[run.seed] = run
    return tuple(newest[seed] for seed in sorted(newest))


def _without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "seed"}


def _leaves(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values, without the seed."""
    return leaves(_without_seed(config))


def _labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells the configurations apart in as few words as possible: model, data set, then single keys."""
    varying = [key for key in dict.fromkeys(key for config in configs for key in config)
               if len({repr(config.get(key, MISSING)) for config in configs}) > 1]  # fmt: skip
    words: list[list[str]] = [[] for _ in configs]
    for key in sorted(varying, key=lambda key: _rank(key, configs)):
        start = "" if key in FIRST else f"{key}="
        shown = [f"{start}{value_text(config[key])}" if key in config else "" for config in configs]
        added = [[*each, word] for each, word in zip(words, shown, strict=True)]
        if len(set(map(tuple, added))) > len(set(map(tuple, words))):
            words = added
        if len(set(map(tuple, words))) == len(configs):
            break
    return [
        ", ".join(filter(None, each)) or value_text(config.get("name", MISSING))
        for each, config in zip(words, configs, strict=True)
    ]


def _rank(key: str, configs: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Names first, then keys that all configurations have, those that tell more apart first."""
    if key in FIRST:
        return FIRST.index(key), 0
    everywhere = all(key in config for config in configs)
    values = {repr(config.get(key, MISSING)) for config in configs}
    return len(FIRST) + (not everywhere), -len(values)


def differences(groups: Sequence[Group]) -> dict[str, list[str]]:
    """What differs between groups, with each group's value: keys of the configuration, then versions, code and
    machines in parentheses."""
    configs = [_leaves(group.config) for group in groups]
    found = {key: [value_text(config.get(key, MISSING)) for config in configs]
             for key in dict.fromkeys(itertools.chain(*configs))}  # fmt: skip
    found |= {f"({key})": [_environment(group, key) for group in groups] for key in ENVIRONMENT}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _environment(group: Group, key: str) -> str:
    found: dict[str, None] = {}
    for run in group.runs:
        value = flatten(run.record).get(key)
        found[MISSING if value is None else str(value)[:40]] = None
    return " / ".join(found)

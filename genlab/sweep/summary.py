"""The end of a sweep: mean and deviation over seeds of each configuration, the best of them, and sweep.csv."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.engine.ranking import rises
from genlab.errors import ConfigError, GenlabError
from genlab.runs import run_folder
from genlab.sweep.ledger import final_metric
from genlab.utils.formatting import number
from genlab.utils.own_folder import OwnFolder
from genlab.utils.tables import csv_text, show
from genlab.utils.terminal import echo
from genlab.workflows.compare.groups import Group, grouped
from genlab.workflows.compare.metrics import TRAINING, Key, metrics

CSV = "sweep.csv"


def summarize(folder: Path, entries: Sequence[Mapping[str, Any]], runs: Sequence[Path]) -> None:
    """Write sweep.csv, a row for each job, and print a table of configurations if several seeds were trained."""
    records = [_record(path) for path in runs]
    rows = [_row(index, *each) for index, each in enumerate(zip(entries, records, strict=True))]
    OwnFolder(folder).write(CSV, csv_text(rows).encode())
    done = [record for record in records if record.get("status") == "done"]
    groups: Sequence[Group] = []
    with contextlib.suppress(ConfigError):  # no configuration can be read any more
        groups, _ = grouped(done, most=None)
    if any(len(group.runs) > 1 for group in groups):
        echo("")
        show(["configuration", "seeds", "metric", "mean ± sd"], [_group_row(group) for group in groups])
    if len(groups) > 1:
        echo(*_best(groups), f"compare: genlab compare {folder}")


def _record(folder: Path) -> dict[str, Any]:
    try:
        return {**run_folder.read_record(folder), "path": str(folder)}
    except GenlabError:  # it failed before it had a folder, or damaged it
        return {"path": str(folder)}


def _row(index: int, entry: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    varied = {key: value for key, _, value in (word.partition("=") for word in entry["overrides"])}
    first = {"job": index, **varied, "status": entry["status"], "code": entry.get("code"), "folder": record["path"]}
    return first | {key: value for key, value in (record.get("metrics") or {}).items() if key not in first}


def _group_row(group: Group) -> list[str]:
    found = final_metric(group.runs[0].record)
    values = [value for run in group.runs if found and (value := run.record["metrics"].get(found[0])) is not None]
    if not found or not values:
        return [group.label, str(len(group.runs)), "-", "-"]
    return [group.label, str(len(group.runs)), found[0], _mean(values)]


def _mean(values: Sequence[float]) -> str:
    from genlab.workflows.compare.significance import Summary

    summary = Summary.of(values)
    return number(summary.mean) + (f" ± {summary.sd:.2g}" if summary.n > 1 else "")


def _best(groups: Sequence[Group]) -> Iterator[str]:
    """The configuration with the best mean of the metric that all models monitor, among those that it can compare."""
    names = {(run.record.get("best") or {}).get("metric") for group in groups for run in group.runs}
    name = next(iter(names))
    if len(names) > 1 or name is None:
        yield "best: the models monitor no common metric"
        return
    found, refused = metrics(groups)
    split, _, rest = name.partition("/")
    key = Key(TRAINING, split, rest)
    shared = [metric for metric in found if metric.key == key]
    for metric in shared:
        compared = [group for group in groups if group.letter in metric.values]
        means = {group.label: metric.over_training(group.letter).mean for group in compared}
        best = (max if rises(name) else min)(means, key=means.__getitem__)
        yield f"best of {len(compared)}: {best}, mean {name} {number(means[best])}"
    if not shared:
        yield f"best: {name} cannot be compared: {refused.get(key, 'it is not finite')}"

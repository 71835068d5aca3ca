"""The run folders of claims: trained and evaluated where missing, and their figures put into the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genlab.errors import ConfigError, GenlabError, nearest
from genlab.runs import run_folder
from genlab.runs.evaluations import SEED_SD, newest
from genlab.utils.subprocesses import run_genlab
from genlab.utils.terminal import say
from genlab.workflows.reproduce.claims import TRAINING, Claims, Curve, Row, Run
from genlab.workflows.reproduce.ledger import Figures, Ledger, Origin


def carry_out(part: Claims, folder: Path, jobs: int) -> Iterator[str]:
    """Train unfinished runs, resuming interrupted ones, then make missing evaluations. Yields the failed commands."""
    for name, run in part.runs.items():
        names = run.names(name)
        sweep = ["--jobs", str(jobs)] if run.seeds > 1 else []
        if not all(record(folder / each) for each in names):
            yield from _failed([*run.train_words(name, folder), *sweep])
        for each in names:
            for stem, words in run.eval_words():
                if record(folder / each) and newest(folder / each, stem) is None:
                    yield from _failed(["eval", str(folder / each), *words])


def _failed(words: list[str]) -> Iterator[str]:
    command = " ".join(["genlab", *words])
    say(command)
    if run_genlab(*words):
        yield command


def record(run: Path) -> dict[str, Any] | None:
    """run.json of a finished run; None if there is none, or if it has not finished."""
    if not run_folder.is_run(run):
        return None
    try:
        found = run_folder.read_record(run)
    except GenlabError:
        return None
    return found if found["status"] == "done" else None


def record_figures(part: Claims, folder: Path, ledger: Ledger) -> None:
    """Put the figures and curves of finished runs into the ledger."""
    for row in part.rows:
        for name in part.folders(row.runs):
            found = figures(folder / name, row)
            origin = origin_of(part.of(name), name, folder) if found else None
            if found and origin:
                kept = ledger.entry(name, origin).figures.setdefault(row.evaluator, Figures())
                kept.metrics |= found.metrics
                kept.protocol |= found.protocol
    for curve in part.curves:
        for name in part.folders(curve.runs):
            text = learning_curve(folder / name, curve)
            origin = origin_of(part.of(name), name, folder) if text else None
            if origin:
                ledger.entry(name, origin).curves[curve.metric] = text


def origin_of(run: Run, name: str, folder: Path) -> Origin | None:
    """What produced a finished run; None, with a notice, if its record does not say."""
    try:
        return Origin.of(run.overrides, record(folder / name) or {})
    except (ValueError, KeyError, TypeError) as error:
        say(f"{name} is not recorded: {' '.join(str(error).split())[:200]}")
        return None


def figures(run: Path, row: Row) -> Figures | None:
    """The number of a row in one run, and its deviation over sampling seeds if it has one; None if not measured.

    ConfigError if the result has no such metric, or was measured in another way than claimed.
    """
    finished = record(run)
    path = newest(run, row.evaluator)
    if not finished or (path is None and row.evaluator != TRAINING):
        return None
    found: dict[str, Any] = finished if path is None else json.loads(path.read_text())
    where = path or run / run_folder.RECORD
    for key, wanted in row.protocol.items():
        actual = found["protocol"].get(key)
        if actual != wanted:
            what = f"the result was made with {key} {actual}, the claim is of {wanted}"
            raise ConfigError(what, f"file {where}", "remove it and evaluate the run again")
    metrics = found["metrics"]
    if row.metric not in metrics:
        raise ConfigError(f"there is no metric '{row.metric}'", f"file {where}", nearest(row.metric, metrics))
    names = [name for name in (row.metric, deviation(row.metric)) if metrics.get(name) is not None]
    return Figures(metrics={name: float(metrics[name]) for name in names}, protocol=row.protocol)


def deviation(metric: str) -> str:
    """The name of a metric's standard deviation over sampling seeds."""
    return f"{metric}{SEED_SD}"


def learning_curve(run: Path, curve: Curve) -> str:
    """Validation metrics over training, each with its step; empty if there are none or the run has not finished."""
    log = run / "metrics.jsonl"
    if not log.exists() or not record(run):
        return ""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    found = [each for each in records if each["split"] == "valid" and each.get(curve.metric) is not None]
    chosen = found[:: -max(1, len(found) // curve.points)][::-1]
    return ", ".join(f"{each[curve.metric]:.2f} ({each['step']:,})" for each in chosen)

"""The run folders of claims: trained and evaluated where missing, and their figures put into the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genlab.errors import GenlabError
from genlab.runs import metrics_file, run_folder
from genlab.runs.evaluations import SEED_SD
from genlab.utils.own_folder import OwnFolder
from genlab.utils.subprocesses import run_genlab
from genlab.utils.terminal import say
from genlab.workflows.reproduce.claims import TRAINING, Claims, Curve, Row, run_path
from genlab.workflows.reproduce.ledger import Figures, Ledger, Origin
from genlab.workflows.reproduce.matching import finished, metric, require, result


def carry_out(part: Claims, folder: Path, jobs: int) -> Iterator[str]:
    """Train unfinished runs, resuming interrupted ones, then make missing evaluations. Yields what failed.

    A folder that holds another run than the claimed one is left alone.
    """
    for name, run in part.in_order(part.runs).items():
        try:
            done = [finished(part, each, folder) for each in run.names(name)]
            if not all(done):
                sweep = ["--jobs", str(jobs)] if run.seeds > 1 else []
                yield from _failed([*run.train_words(name, folder), *sweep])
            for each in run.names(name):
                if finished(part, each, folder):
                    yield from _evaluate(part, each, folder)
        except GenlabError as error:
            yield str(error)


def _evaluate(part: Claims, name: str, folder: Path) -> Iterator[str]:
    for wanted in part.of(name).evaluations():
        if result(part, name, folder, wanted) is None:
            yield from _failed(["eval", str(run_path(folder, name)), *wanted.options])


def _failed(words: list[str]) -> Iterator[str]:
    command = " ".join(["genlab", *words])
    say(command)
    if run_genlab(*words):
        yield command


def record_figures(part: Claims, folder: Path, ledger: Ledger) -> Iterator[GenlabError]:
    """Put the figures and curves of finished runs into the ledger. Yields why a curve cannot be used.

    Figures that cannot be used are left out; the table tells why.
    """
    for row in part.rows:
        for name in part.folders(row.runs):
            try:
                found = figures(part, name, folder, row)
                origin = origin_of(part, name, folder) if found else None
            except GenlabError:
                continue
            if found and origin:
                kept = ledger.entry(name, origin).figures.setdefault(row.evaluator, Figures())
                kept.metrics |= found.metrics
                kept.protocol |= found.protocol
    for curve in part.curves:
        for name in part.folders(curve.runs):
            try:
                text = learning_curve(part, name, folder, curve)
                origin = origin_of(part, name, folder) if text else None
            except GenlabError as error:
                yield error
                continue
            if origin:
                ledger.entry(name, origin).curves[curve.metric] = text


def origin_of(part: Claims, name: str, folder: Path) -> Origin | None:
    """What produced a finished run; None, with a notice, if its record does not say."""
    try:
        return Origin.of(part.of(name).overrides, finished(part, name, folder) or {})
    except (ValueError, KeyError, TypeError) as error:
        say(f"{name} is not recorded: {' '.join(str(error).split())[:200]}")
        return None


def figures(part: Claims, name: str, folder: Path, row: Row) -> Figures | None:
    """The number of a row in the run `name`, and its deviation over sampling seeds if there is one; None if missing.

    GenlabError if the run or the result is another than the claimed one, or has no such metric.
    """
    record = finished(part, name, folder)
    if record is None:
        return None
    if row.evaluator == TRAINING:
        return Figures(metrics={row.metric: metric(record, row.metric, run_path(folder, name) / run_folder.RECORD)})
    measured = result(part, name, folder, part.evaluation(name.split("/")[0], row))
    if measured is None:
        return None
    path, found = measured
    require(found["protocol"], row.protocol, path)
    spread = deviation(row.metric)
    names = [row.metric, *([spread] if found["metrics"].get(spread) is not None else [])]
    return Figures(metrics={each: metric(found, each, path) for each in names}, protocol=row.protocol)


def deviation(name: str) -> str:
    """The name of a metric's standard deviation over sampling seeds."""
    return f"{name}{SEED_SD}"


def learning_curve(part: Claims, name: str, folder: Path, curve: Curve) -> str:
    """Validation metrics over training, each with its step; empty if there are none or the run has not finished."""
    if not finished(part, name, folder):
        return ""
    records = (record for _, record in metrics_file.records(OwnFolder(run_path(folder, name))))
    found = [each for each in records if each["split"] == "valid" and each.get(curve.metric) is not None]
    count = min(curve.points, len(found))
    chosen = [found[(number + 1) * len(found) // count - 1] for number in range(count)]
    return ", ".join(f"{each[curve.metric]:.2f} ({each['step']:,})" for each in chosen)

"""Generate docs/results.md from run folders; with --run, first train and evaluate missing runs.

    python scripts/results.py                     # the page, from existing runs and docs/results.json
    GENLAB_DATA=... python scripts/results.py --run [CLAIMS ...]      # hours; finished runs are not trained again

Each file of scripts/claims/ lists the runs of one section (name: overrides of `genlab train`), their evaluations
(options of `genlab eval`) and the rows of its table. Run folders are outputs/results/NAME, or --runs. The table shows a
number only if the JSON file of its evaluation has existed; results.json, beside the page, then stores the number. A row
without a number says so. Many short runs form a sweep (name: overrides of `genlab train -m`), whose runs are NAME/0,
NAME/1, ...; a row that names the sweep uses all of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Gt, MinLen
from ledger import Ledger
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[1]
SWEEP = "sweep.json"
NOTHING = "not measured yet"
TRAINING = "training"  # in a row, instead of an evaluator: metrics at the end of training
HEAD = """# Results

This page lists every measured number with the command that gave it, beside the published one.

`python scripts/results.py` generates it from the run folders of the commands below each table; only the published
numbers are typed in. `results.json` stores the numbers of each run, the hash of its configuration and the day it ended.
Numbers are measured on the test split, which was not used for any choice, unless a row says otherwise. Losses are in
nats, summed over the pixels of an image. "±" is the standard deviation over the runs named.

The numbers of seeds other than 0 are from a time when `seed` also chose the validation images and the labeled images:
add `dataset.split_seed=SEED` to their commands to train on the same images.
"""


class Row(BaseModel):
    """One line of a table. `metric` is a key of RUN/eval/`evaluator`.json; several runs give mean ± deviation, or the
    `statistic` asked for.

    With `evaluator: training` it is one of the last metrics of training, in RUN/run.json.
    `protocol` lists the conditions of the claim: the protocol in the file must have these values.
    """

    model_config = ConfigDict(extra="forbid")

    what: str
    runs: Annotated[list[str], MinLen(1)]
    evaluator: str
    metric: str
    protocol: dict[str, Any] = {}
    published: str = ""
    digits: int = 2
    statistic: Literal["mean", "median", "least"] = "mean"  # of several runs


class Curve(BaseModel):
    """Learning curves of runs: a validation metric of metrics.jsonl."""

    model_config = ConfigDict(extra="forbid")

    runs: Annotated[list[str], MinLen(1)]
    metric: str
    points: Annotated[int, Gt(1)] = 8  # per run, evenly spaced, including the last


class Claims(BaseModel):
    """One file of scripts/claims/."""

    model_config = ConfigDict(extra="forbid")

    title: str
    runs: dict[str, list[str]] = {}
    sweeps: dict[str, list[str]] = {}
    evals: dict[str, list[list[str]]] = {}
    rows: list[Row]
    curves: list[Curve] = []
    notes: str = ""
    pictures: list[str] = []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", metavar="CLAIMS", help="names of files in scripts/claims; none: all")
    parser.add_argument("--run", action="store_true", help="train and evaluate missing runs")
    parser.add_argument("--runs", type=Path, default=Path("outputs/results"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md", help="the page")
    parser.add_argument("--from", dest="folder", type=Path, default=ROOT / "scripts" / "claims", help="the claims")
    parser.add_argument("--forget", nargs="*", default=[], metavar="NAME", help="drop the stored numbers of these runs")
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.yaml"))
    parts = {path.stem: Claims.model_validate(yaml.safe_load(path.read_text())) for path in files}
    for name, part in parts.items():
        if options.run and name in (options.claims or parts):
            carry_out(part, options.runs)
    ledger = Ledger(options.out.with_suffix(".json"))
    for name in options.forget:
        ledger.forget(name)
    for part in parts.values():
        harvest(part, options.runs, ledger)
    ledger.write()
    options.out.write_text("\n".join([HEAD, *(line for part in parts.values() for line in section(part, ledger))]))
    print(options.out)
    return 0


def carry_out(part: Claims, runs: Path) -> None:
    """Train unfinished runs, resuming interrupted ones, then run missing evaluations."""
    for name, made in part.runs.items():
        if record(runs / name).get("status") != "done":
            genlab("train", *made, f"hydra.run.dir={runs / name}")
    for name, made in part.sweeps.items():
        if not finished(runs / name):
            genlab("train", "-m", *made, f"hydra.sweep.dir={runs / name}")
    for name, measurements in part.evals.items():
        wanted = {row.evaluator for row in part.rows if name in row.runs}
        if any(not (runs / name / "eval" / f"{stem}.json").exists() for stem in wanted):
            for measurement in measurements:
                genlab("eval", str(runs / name), *measurement)


def finished(sweep: Path) -> bool:
    """Whether every job of a sweep is done."""
    return (sweep / SWEEP).exists() and all(job["status"] == "done" for job in jobs(sweep))


def jobs(sweep: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((sweep / SWEEP).read_text())["jobs"]
    return found


def genlab(*words: str) -> None:
    """One command; its error ends this script."""
    print("genlab", *words, flush=True)
    subprocess.run([sys.executable, "-m", "genlab", *words], check=True)


def harvest(part: Claims, runs: Path, ledger: Ledger) -> None:
    """Put the numbers and curves of existing run folders into the ledger."""
    for name in part.sweeps:
        if (runs / name / SWEEP).exists():
            ledger.sweeps[name] = len(jobs(runs / name))
    for row in part.rows:
        for name in ledger.expanded(row.runs):
            if (value := figure(runs / name, row)) is not None:
                kept = ledger.entry(name, overrides(part, name), record(runs / name))["figures"]
                made = kept.setdefault(row.evaluator, {"metrics": {}, "protocol": {}})
                made["metrics"][row.metric] = value
                made["protocol"] |= row.protocol
    for curve in part.curves:
        for name in curve.runs:
            if said := learning_curve(runs / name, curve):
                ledger.entry(name, part.runs[name], record(runs / name))["curves"][curve.metric] = said


def overrides(part: Claims, name: str) -> list[str]:
    """The overrides of a run, or of the sweep that it belongs to."""
    sweep = name.split("/")[0]
    return part.sweeps[sweep] if sweep in part.sweeps else part.runs[name]


def record(run: Path) -> dict[str, Any]:
    """A run's run.json; empty if there is none."""
    path = run / "run.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def commands(part: Claims, name: str) -> Iterator[str]:
    """The commands of a run or sweep, as shown on the page."""
    if name in part.sweeps:
        yield f"genlab train -m {shlex.join(part.sweeps[name])}  # {name}"
        return
    yield f"genlab train {shlex.join(part.runs[name])}  # {name}"
    yield from (f"genlab eval {name} {shlex.join(words)}".rstrip() for words in part.evals.get(name, []))


def section(part: Claims, ledger: Ledger) -> Iterator[str]:
    """The Markdown lines of one part."""
    yield from (f"## {part.title}", "", "| what | measured | published |", "| --- | --- | --- |")
    for row in part.rows:
        yield f"| {row.what} | {measured(row, part, ledger)} | {row.published or '-'} |"
    yield ""
    for curve in part.curves:
        yield from (f"| run | `{curve.metric}` on validation images, after optimizer steps |", "| --- | --- |")
        for name in curve.runs:
            yield f"| `{name}` | {ledger.recall(name, part.runs[name])['curves'].get(curve.metric, NOTHING)} |"
        yield ""
    if part.notes:
        yield from (part.notes.strip(), "")
    for picture in part.pictures:
        yield from (f"![{Path(picture).stem}]({Path(picture).relative_to('docs')})", "")
    yield "```"
    for name in (*part.runs, *part.sweeps):
        yield from commands(part, name)
    yield from ("```", "")


def learning_curve(run: Path, curve: Curve) -> str:
    """Validation metrics over training, each with its step; empty if there are none or the run is unfinished."""
    log = run / "metrics.jsonl"
    if not log.exists() or record(run).get("status", "done") != "done":
        return ""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    found = [each for each in records if each["split"] == "valid" and curve.metric in each]
    chosen = found[:: -max(1, len(found) // curve.points)][::-1]
    return ", ".join(f"{each[curve.metric]:.2f} ({each['step']:,})" for each in chosen)


def measured(row: Row, part: Claims, ledger: Ledger) -> str:
    """The number of a row, over all of its runs that have one."""
    names = ledger.expanded(row.runs)
    kept = [ledger.recall(name, overrides(part, name))["figures"].get(row.evaluator) for name in names]
    values = [
        each["metrics"][row.metric]
        for each in kept
        if each and row.metric in each["metrics"] and row.protocol.items() <= each["protocol"].items()
    ]
    summary = ledger.summaries.get(f"{row.evaluator} {row.metric} {row.statistic} of {' '.join(row.runs)}")
    if summary and len(values) < len(names):
        return summary
    if not values:
        return NOTHING
    number = {"mean": statistics.fmean, "median": statistics.median, "least": min}[row.statistic](values)
    text = f"{number:.{row.digits}f}"
    if len(values) > 1 and row.statistic == "mean":
        text += f" ± {statistics.stdev(values):.{row.digits}f}"
    missing = len(names) - len(values)
    return f"{text} ({len(values)} runs{f', {missing} missing' if missing else ''})" if len(names) > 1 else text


def figure(run: Path, row: Row) -> float | None:
    """One number of one run, or None if it has not been measured or the run has not ended.

    Raises KeyError if the evaluation has no such metric, ValueError if its protocol differs from the row's.
    """
    path = run / "run.json" if row.evaluator == TRAINING else run / "eval" / f"{row.evaluator}.json"
    if not path.exists():
        return None
    if record(run).get("status", "done") != "done":
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    for key, wanted in row.protocol.items():
        made = found["protocol"].get(key)
        if made != wanted:
            raise ValueError(f"{path} was made with {key} {made}, the claim is of {wanted}: evaluate the run again")
    if row.metric not in found["metrics"]:
        raise KeyError(f"{path} has no metric '{row.metric}', only {', '.join(found['metrics'])}")
    return float(found["metrics"][row.metric])


if __name__ == "__main__":
    sys.exit(main())

"""The product's own training on a named workload, timed: what `genlab bench` prints."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from genlab import config, runs, training
from genlab.errors import ConfigError, GenlabError
from genlab.registry import PositiveInt
from genlab.stopwatch import Stopwatch


@dataclasses.dataclass(frozen=True)
class Span:
    """How many steps are timed, and how many come before them."""

    steps: PositiveInt = 100
    warmup: PositiveInt = 10


def measure(workload: str, composed: config.Composed, span: Span) -> dict[str, Any]:
    """Train in a temporary run folder until `span` is over; the figures by name.

    Loggers, pictures and checkpoints are on, as often as in the workload's whole run. What a run prints goes to
    stderr. ConfigError if the run is shorter than the span, or one of several processes.
    """
    keys, last = composed.config["trainer"], span.warmup + span.steps
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 or keys["devices"] > 1:
        raise ConfigError("a benchmark is of one process", "key trainer.devices", "use trainer.devices=1, no torchrun")
    if keys["steps"] is not None and keys["steps"] < last:
        raise _too_short(keys["steps"], last)
    watch = Stopwatch(span.warmup, span.steps)
    with _temporary() as folder, contextlib.redirect_stdout(sys.stderr):
        path = folder / "run"
        training.run(dataclasses.replace(composed, run_dir=path), watch=watch)
        record = runs.read_record(path)
        if not watch.done:
            raise _too_short(record["step"], last)
        measured = watch.figures(keys["batch_size"])
        channels, height, width = record["data"]["shape"]
        return {
            "peer": "genlab",
            "workload": workload,
            "params": sum(record["model"]["parameters"].values()),
            **measured,
            "precision": record["precision"],
            "compile": keys["compile"],
            "layout": record["layout"],
            "data_source": f"{record['data']['name']} {channels}x{height}x{width}",
            "overhead": overhead(path / "metrics.jsonl", span, keys["batch_size"]),
        }


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    """A folder that is gone afterwards, so no error may say to resume from it; one with a traceback is kept."""
    folder, kept = Path(tempfile.mkdtemp(prefix="genlab-bench-")), False
    try:
        yield folder
    except GenlabError as error:
        kept = error.code == GenlabError.code
        error.args = (str(error).partition("; resume with: ")[0],)
        raise
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _too_short(has: int, wanted: int) -> ConfigError:
    return ConfigError(f"the run ends at step {has}, warm-up and measured steps are {wanted}", "genlab bench",
                       "give smaller steps= and warmup=, or a larger trainer.steps=")  # fmt: skip


def overhead(metrics: Path, span: Span, batch_size: int) -> float | None:
    """Share of wall time outside steps (logs, pictures, checkpoints) between the span's first and last record.

    A training record says when it was written, and how fast the steps since the one before it were.
    None where the span holds fewer than two, or they were written in the same millisecond.
    """
    records = [record for record in _training(metrics) if span.warmup <= record["step"] <= span.warmup + span.steps]
    wall = records[-1]["time"] - records[0]["time"] if records else 0
    if not wall:
        return None
    in_steps = sum((b["step"] - a["step"]) * batch_size / b["images_per_second"] for a, b in pairwise(records))
    return round(max(0.0, 1 - in_steps / wall), 4)


def _training(metrics: Path) -> Iterator[dict[str, Any]]:
    if metrics.is_file():  # a logger that was not asked for writes none
        for line in metrics.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["split"] == "train":
                yield record

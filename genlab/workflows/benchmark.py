"""The product's own training on a named workload, timed: what `genlab bench` prints."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genlab.config import compose
from genlab.distributed.ranks import from_environment
from genlab.errors import ConfigError, GenlabError
from genlab.registry import PositiveInt
from genlab.runs import run_folder
from genlab.workflows import train
from genlab.workflows.stopwatch import Stopwatch


@dataclasses.dataclass(frozen=True)
class Span:
    """How many steps are timed, and how many come before them."""

    steps: PositiveInt = 100
    warmup: PositiveInt = 10


def measure(workload: str, composed: compose.Composed, span: Span) -> dict[str, Any]:
    """Train in a temporary run folder until `span` is over; returns the measurements by name.

    Loggers, images and checkpoints are on, as often as in the workload's whole run. What a run prints goes to
    stderr. ConfigError if the run is shorter than the span, or one of several processes.
    """
    keys, last = composed.config["trainer"], span.warmup + span.steps
    if from_environment().world_size > 1 or keys["devices"] > 1:
        raise ConfigError("a benchmark is of one process", "key trainer.devices", "use trainer.devices=1, no torchrun")
    if keys["steps"] is not None and keys["steps"] < last:
        raise _too_short(keys["steps"], last)
    watch = Stopwatch(span.warmup, span.steps)
    with _temporary() as folder, contextlib.redirect_stdout(sys.stderr):
        path = folder / "run"
        train.run(dataclasses.replace(composed, run_dir=path), watch=watch)
        record = run_folder.read_record(path)
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
            "layout": "nhwc" if record["channels_last"] else "nchw",
            "data_source": f"{record['data']['name']} {channels}x{height}x{width}",
            "overhead": overhead(record["time"]),
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


def overhead(seconds: Mapping[str, float]) -> float | None:
    """Share of the training thread's time outside steps (logs, images, checkpoints), over the whole run."""
    laps = {name: value for name, value in seconds.items() if name != "writing"}  # that is another thread's
    whole = sum(laps.values())
    return round(1 - laps.get("training", 0.0) / whole, 4) if whole else None

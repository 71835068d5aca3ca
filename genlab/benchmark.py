"""The product's own training on a named workload, timed: what `genlab bench` prints."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab import config, runs, training
from genlab.errors import ConfigError
from genlab.registry import PositiveInt
from genlab.stopwatch import Stopwatch


@dataclasses.dataclass(frozen=True)
class Span:
    """How many steps are timed, and how many come before them."""

    steps: PositiveInt = 100
    warmup: PositiveInt = 10


def measure(workload: str, composed: config.Composed, span: Span) -> dict[str, Any] | None:
    """Train in a temporary run folder until `span` is over; the figures by name. None on ranks other than 0.

    Loggers, pictures and checkpoints are on, as often as in the workload's whole run. What a run prints goes to
    stderr. ConfigError if the run is shorter than the span.
    """
    keys, last = composed.config["trainer"], span.warmup + span.steps
    if keys["steps"] is not None and keys["steps"] < last:
        raise _too_short(keys["steps"], last)
    watch = Stopwatch(span.warmup, span.steps)
    with tempfile.TemporaryDirectory(prefix="genlab-bench-") as folder, contextlib.redirect_stdout(sys.stderr):
        path = Path(folder) / "run"
        training.run(dataclasses.replace(composed, run_dir=path), watch=watch)
        if not runs.is_run(path):  # the run of several processes is written by rank 0
            return None
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
            "overhead": overhead(record["time"]),
        }


def _too_short(has: int, wanted: int) -> ConfigError:
    return ConfigError(f"the run ends at step {has}, warm-up and measured steps are {wanted}", "genlab bench",
                       "give smaller steps= and warmup=, or a larger trainer.steps=")  # fmt: skip


def overhead(seconds: Mapping[str, float]) -> float | None:
    """Share of the training thread's time outside steps (logs, pictures, checkpoints), over the whole run."""
    laps = {name: value for name, value in seconds.items() if name != "writing"}  # that is another thread's
    whole = sum(laps.values())
    return round(1 - laps.get("training", 0.0) / whole, 4) if whole else None

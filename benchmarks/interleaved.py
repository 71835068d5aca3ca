"""genlab's training beside its floor loop in one process, in turn: the ratio least disturbed by a busy machine.

    python -m benchmarks.interleaved [WORKLOAD ...] [--rounds 25] [--docs]

The run is genlab's own, with default logs, images and checkpoints, in a temporary folder. After every few of its steps
the floor makes as many of its own, on the same images, with the same threads and allocator. A round is one span of
each, of about `--seconds`; a ratio is formed within a round, from CPU seconds of all threads. The result is the median
over rounds with the quartiles, and the speeds. --docs also stores it and renews the table in docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import LIMIT, floor, rounds, run, synthetic
from benchmarks.floors.how import How
from benchmarks.images import export
from benchmarks.workloads import WORKLOADS
from genlab.config import compose
from genlab.runs import run_folder
from genlab.runs.provenance import git_state, processor
from genlab.workflows import train

FACES = 2000  # of CelebA that are trained on; all would fill the memory twice
WARMUP = 3  # spans of each that are not counted


class Turns:
    """Called after each step of genlab's run: after a span of them, as many steps of the floor; both are timed."""

    def __init__(self, floor_step: Callable[[], Any], rounds: int, seconds: float) -> None:
        self.floor_step, self.rounds, self.seconds = floor_step, rounds, seconds
        self.span = 1
        self.pairs: list[tuple[float, float]] = []  # CPU seconds a step: genlab, floor
        self._done, self._began = 0, 0.0

    def __call__(self, step: int) -> bool:
        """Whether enough rounds are measured."""
        self._done += 1
        if self._done < self.span:
            return False
        middle = time.process_time()
        for _ in range(self.span):
            self.floor_step()
        end = time.process_time()
        self.pairs.append(((middle - self._began) / self.span, (end - middle) / self.span))
        if len(self.pairs) <= WARMUP:
            self.span = max(1, round(self.seconds / self.pairs[-1][1]))
        self._done, self._began = 0, time.process_time()
        return len(self.pairs) == WARMUP + self.rounds

    def figures(self, batch: int) -> dict[str, Any]:
        pairs = self.pairs[WARMUP:]
        low, median, high = statistics.quantiles([b / a for a, b in pairs], n=4)
        return {
            "genlab_images_per_cpu_s": round(batch / statistics.median(a for a, _ in pairs), 1),
            "floor_images_per_cpu_s": round(batch / statistics.median(b for _, b in pairs), 1),
            "genlab_to_floor": round(median, 3),
            "quartiles": [round(low, 3), round(high, 3)],
            "rounds": len(pairs),
            "steps_a_round": self.span,
        }


def measure(workload: str, given: argparse.Namespace) -> dict[str, Any]:
    limit = FACES if WORKLOADS[workload].data == "celeba" else LIMIT
    words = [f"workload={workload}", f"dataset.limit={limit}", "trainer.threads=1", "trainer.precision=fp32"]
    composed = compose.compose([*words, *given.override], [], [], "cpu")
    how = How(layout=run.layout(workload, "cpu", "fp32"))
    torch.manual_seed(0)
    step, params = floor.build(workload, how)
    stream = floor.batches(torch.from_numpy(np.load(export(workload, limit))), WORKLOADS[workload].batch)
    turns = Turns(lambda: step(next(stream)), given.rounds, given.seconds)
    with tempfile.TemporaryDirectory(prefix="interleaved-") as folder, contextlib.redirect_stdout(sys.stderr):
        path = Path(folder) / "run"
        train.run(dataclasses.replace(composed, run_dir=path), watch=turns)
        record = run_folder.read_record(path)
    if (own := sum(record["model"]["parameters"].values())) != params:
        raise SystemExit(f"{workload}: not the same work: {own} parameters in genlab, {params} in the floor")
    return {"workload": workload, "params": params, "batch": WORKLOADS[workload].batch,
            **turns.figures(WORKLOADS[workload].batch)}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; a ratio above 1 means that genlab is faster."""
    lines = [
        "| workload | parameters | batch | genlab | floor | genlab ÷ floor | quartiles |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        speeds = [rounds.rate(row[f"{peer}_images_per_cpu_s"]) for peer in ("genlab", "floor")]
        low, high = row["quartiles"]
        cells = [f"`{row['workload']}`", f"{row['params']:,}", str(row["batch"]), *speeds,
                 f"{row['genlab_to_floor']:.2f}", f"{low:.2f} to {high:.2f}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def keep(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the day's file, with these in place of earlier ones of the same workloads."""
    date, facts = str(datetime.date.today()), {"git": git_state(run.ROOT), "torch": torch.__version__}
    file = run.RESULTS / f"interleaved-{run.hardware('cpu')}-{date}.json"
    kept = {row["workload"]: row for row in (json.loads(file.read_text()) if file.exists() else [])}
    kept |= {row["workload"]: {**row, "date": date, "machine": processor(), **facts} for row in rows}
    ordered = [kept[name] for name in WORKLOADS if name in kept]
    file.write_text(json.dumps(ordered, indent=1) + "\n")
    return ordered


def main() -> None:
    about, _, _ = (__doc__ or "").partition("\n\n")
    parse = argparse.ArgumentParser(description=about)
    parse.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; none: all")
    parse.add_argument("--rounds", type=int, default=25)
    parse.add_argument("--seconds", type=float, default=0.5, help="CPU seconds of a span")
    parse.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="for genlab")
    parse.add_argument("--docs", action="store_true", help="also keep the rows, and show them in docs/performance.md")
    given = parse.parse_args()
    names = given.workloads or list(WORKLOADS)
    os.environ["GENLAB_DATA"] = str(synthetic.data_root(names)[0])
    for name in names:
        row = measure(name, given)
        print(json.dumps(row), flush=True)
        if given.docs:
            run.put(run.ROOT / "docs" / "performance.md", "floors", table(keep([row])))


if __name__ == "__main__":
    main()

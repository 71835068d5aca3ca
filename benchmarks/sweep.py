"""Cost that a sweep adds to each of its jobs: wall and CPU seconds, as JSON.

    python benchmarks/sweep.py [ROUNDS] [JOBS]

A job is as small as possible: a VAE on the digits, one step, no evaluator. Each round runs, in turn,

    sweep      `genlab train -m` over JOBS seeds, and over one     seconds per job = (all - one) / (JOBS - 1)
    work       the same jobs by genlab.train() in a loop, in one process whose first job is not counted
    processes  `genlab train -m` over 4 seeds and over one, with forking refused: an interpreter per job

`beyond the work` is seconds per job of the sweep minus seconds per job of the loop: starting the job, its checks and
ledger, its own memory, its end. Both sides compose the job's configuration; a sweep does it faster. Results are medians
over rounds of differences formed within a round. CPU seconds cover all processes; on a busy machine, use them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OVERRIDES = ["model=vae", "dataset=digits", "trainer.steps=1", "evaluator=none", "logger=jsonl"]
REFUSED = "from genlab.sweep import fork_server; fork_server.refusal = lambda: 'for comparison'; "
COMMAND = "import sys; from genlab.cli.main import main; sys.exit(main(sys.argv[1:]))"
LOOP = """
import json, os, sys, time
import genlab
folder, jobs, *overrides = sys.argv[1:]
for seed in range(int(jobs)):
    if seed == 1:
        began = time.perf_counter(), sum(os.times()[:4])
    genlab.train([*overrides, f"seed={seed}", f"hydra.run.dir={folder}/{seed}"])
ended = time.perf_counter(), sum(os.times()[:4])
json.dump([(b - a) / (int(jobs) - 1) for a, b in zip(began, ended)], open(f"{folder}/seconds.json", "w"))
"""
Seconds = tuple[float, float]  # wall, CPU


def command(code: str, jobs: int) -> Seconds:
    """Seconds of a sweep over `jobs` seeds."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "-m", *OVERRIDES, f"seed=range(0,{jobs})", f"hydra.sweep.dir={folder}/sweep"]
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the sweep ended with {process.returncode}")
        return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def each(code: str, jobs: int) -> Seconds:
    """Seconds that one more job adds to a sweep."""
    many, one = command(code, jobs), command(code, 1)
    wall, cpu = ((a - b) / (jobs - 1) for a, b in zip(many, one, strict=True))
    return wall, cpu


def loop(jobs: int) -> Seconds:
    """Seconds per job when all jobs run in one process."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", LOOP, folder, str(jobs), *OVERRIDES], capture_output=True, check=True)
        wall, cpu = json.loads(Path(folder, "seconds.json").read_text())
        return wall, cpu


def medians(rows: list[Seconds]) -> dict[str, float]:
    wall, cpu = (round(statistics.median(column), 4) for column in zip(*rows, strict=True))
    return {"wall": wall, "cpu": cpu}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    command(COMMAND, 1)  # warms the disk cache
    taken: dict[str, list[Seconds]] = {"sweep": [], "work": [], "processes": []}
    for _ in range(rounds):
        taken["sweep"].append(each(COMMAND, jobs))
        taken["work"].append(loop(jobs))
        taken["processes"].append(each(REFUSED + COMMAND, 4))
    beyond = {
        name: [(s[0] - w[0], s[1] - w[1]) for s, w in zip(taken[name], taken["work"], strict=True)]
        for name in ("sweep", "processes")
    }
    print(json.dumps({
        "rounds": rounds, "jobs": jobs,
        "seconds a job": {name: medians(rows) for name, rows in taken.items()},
        "seconds a job beyond the work": {name: medians(rows) for name, rows in beyond.items()},
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()

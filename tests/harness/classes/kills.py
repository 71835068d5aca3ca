"""SIGKILL at random moments, again and again, until the run is done; then it is compared with one left alone.

Equal means: every tensor of the last checkpoint (weights, buffers, average, optimizer) has the same bits, and
metrics.jsonl has the same records, none missing and none twice; only the wall clock and the speed may differ.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness.fault_class import Case, FaultClass
from tests.support.processes import command, wait
from tests.support.tiny_runs import COMMON, FAMILIES, fingerprint, train

KILLS = 10  # of one run
Start = Callable[[list[str]], int]  # overrides -> process id


def kill_until(start: Start, overrides: list[str], kills: int, longest: float, rng: random.Random) -> int:
    """Start the run again and again, each time killed at a random moment, at most `kills` times; then let it end.

    Returns how often it was really killed. A start that ends by itself must have ended well.
    """
    killed = 0
    while killed < kills:
        pid = start(overrides)
        code = wait(pid, rng.uniform(0, longest))
        if code is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            killed += 1
            continue
        if code:
            raise AssertionError(f"a restarted run ended with code {code}")
        break
    code = wait(start(overrides))
    if code != 0:
        raise AssertionError(f"the last start ended with code {code}")
    return killed


def whole(start: Start, overrides: list[str], path: Path) -> dict[str, Any]:
    """The fingerprint of the run that nobody killed, and how many seconds it took."""
    if not path.exists():
        run, began = path.with_suffix(".run"), time.monotonic()
        assert wait(start([*overrides, f"hydra.run.dir={run}"])) == 0, "the run that nobody killed failed"
        path.write_text(json.dumps({"fingerprint": fingerprint(run), "seconds": time.monotonic() - began}))
    return dict(json.loads(path.read_text()))


def killed(start: Start, family: str, case: Case) -> str | None:
    """Kill runs of a family KILLS times in all."""
    overrides = [*COMMON, *FAMILIES[family]]
    expected = whole(start, overrides, case.folder / "whole.json")
    done = runs = 0
    while done < KILLS:
        runs += 1
        run = case.folder / f"killed-{runs}"
        words = [*overrides, f"hydra.run.dir={run}"]
        done += kill_until(start, words, KILLS - done, expected["seconds"], case.rng)
        if fingerprint(run) != expected["fingerprint"]:
            return f"{family} differs from the uninterrupted run"
    return None


def forked(case: Case) -> str | None:
    return killed(train, list(FAMILIES)[case.number % len(FAMILIES)], case)


def real(case: Case) -> str | None:
    return killed(lambda words: command(["train", *words]), list(FAMILIES)[case.number % len(FAMILIES)], case)


FAULTS = [
    FaultClass("kills", "no run lost, no bit and no metric different", 600, forked, KILLS, short=3),
    FaultClass("kills-command", "the same of the real command", 60, real, KILLS, short=1),
]

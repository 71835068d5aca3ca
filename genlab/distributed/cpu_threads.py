"""How many CPU threads a process computes with, and how they wait: for machines that other processes use too.

A thread that waits for the others of its process spins, by default for milliseconds. On a core that another process
needs, that costs the process most of its speed: both wait for a thread that is not running.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from genlab.utils.terminal import say

GIVEN = "OMP_NUM_THREADS"  # the user's own number
DIVIDED = "GENLAB_THREADS"  # of a process that genlab started beside others
SPINS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}  # a few microseconds, then sleep
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
SHORTEST, LONGEST = 0.2, 60  # seconds of observation that say something about now


def wait_without_spinning() -> None:
    """Must come before torch is imported: OpenMP reads it once. The user's own settings win."""
    if not any(key in os.environ for key in SPINS):
        os.environ.update(SPINS)


class Usage(NamedTuple):
    """Seconds since the system started: by the clock, idle on the cores that this process may use, and its own work."""

    clock: float
    idle: float
    own: float

    @classmethod
    def now(cls) -> Usage | None:
        """None where the system does not say."""
        try:
            lines = Path("/proc/stat").read_text().splitlines()
        except OSError:
            return None
        mine = {f"cpu{index}" for index in os.sched_getaffinity(0)}
        idle = sum(int(fields[4]) for fields in map(str.split, lines) if fields and fields[0] in mine)
        return cls(time.monotonic(), idle / TICKS, time.process_time())


START = Usage.now()


def choose(limit: int, repeatable: bool = False) -> int:
    """Threads for this process: OMP_NUM_THREADS, where it is set, or its part of the cores if genlab started several
    processes; else the cores that others leave free, from 1 to `limit`.

    Observed since the process started, so that it costs no time; over a fifth of a second if that is too long ago.
    `repeatable`: the same number at every start, so `limit`: it decides the order of sums, and so the last digits.
    """
    settled = _number(GIVEN) or _number(DIVIDED)
    if settled:
        return settled
    before, now = START, Usage.now()
    if repeatable or before is None or now is None:
        return limit
    if not SHORTEST <= now.clock - before.clock <= LONGEST:
        before = now
        time.sleep(SHORTEST)
        now = Usage.now() or now
    free = free_cores(before, now, limit)
    if free < limit:
        say(f"training on {free} of {limit} CPU threads: other processes use the rest (trainer.threads={limit}: all)")
    return free


def free_cores(before: Usage, after: Usage, limit: int) -> int:
    """Cores that were idle, or at work for this process, between two observations: rounded, from 1 to `limit`."""
    free = (after.idle - before.idle + after.own - before.own) / (after.clock - before.clock)
    return max(1, min(limit, round(free)))


def thread_environment(processes: int) -> dict[str, str]:
    """The environment of one of several `processes` that start together, so that they divide the cores."""
    from genlab.utils.subprocesses import cores  # here: `genlab --help` need not load it

    if processes < 2:
        return {}
    return {DIVIDED: str(max(1, (_number(DIVIDED) or cores()) // processes))}


@contextlib.contextmanager
def divided_threads(processes: int) -> Iterator[None]:
    """What this process starts meanwhile is one of `processes`."""
    before = os.environ.get(DIVIDED)
    os.environ.update(thread_environment(processes))
    try:
        yield
    finally:
        os.environ.pop(DIVIDED, None)
        if before is not None:
            os.environ[DIVIDED] = before


def _number(variable: str) -> int:
    """The positive number in an environment variable, or 0."""
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else 0

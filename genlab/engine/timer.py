"""How a run spends its time, images per second of training, and the time since the process began."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

_IMPORTED = time.perf_counter()


class Clock:
    """Divides the training thread's time into named laps: the time between two calls belongs to the later one.

    `seconds` holds the sum of each lap. The lap "training" also counts steps, for the images per second; it is updated
    at log steps only.
    """

    def __init__(self, batch_size: int) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._batch_size = batch_size
        self._since = time.perf_counter()
        self._steps = self._all_steps = 0
        self._seconds = 0.0  # of training since the last call of `recent`

    def go(self) -> None:
        """Start or resume training time now; the time since the last lap is not counted."""
        self._since = time.perf_counter()

    def lap(self, name: str) -> float:
        """Add the time since the last call to the lap `name`; returns it in seconds."""
        now = time.perf_counter()
        passed, self._since = now - self._since, now
        self.seconds[name] += passed
        return passed

    def pause(self, steps: int) -> None:
        """End a lap of training in which `steps` steps were done."""
        self._seconds += self.lap("training")
        self._steps += steps
        self._all_steps += steps

    def recent(self) -> float:
        """Training images per second since the last call."""
        steps, seconds, self._steps, self._seconds = self._steps, self._seconds, 0, 0.0
        return steps * self._batch_size / seconds if seconds else 0.0

    def overall(self) -> float:
        """Training images per second of this process so far."""
        seconds = self.seconds["training"]
        return self._all_steps * self._batch_size / seconds if seconds else 0.0


def since_process_start() -> float:
    """Wall seconds since this process started (to 10 ms); outside Linux, since this module was imported."""
    try:
        began = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]  # ticks from boot to our start
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(began) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.perf_counter() - _IMPORTED

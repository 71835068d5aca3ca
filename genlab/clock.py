"""Images per second of training alone, and the time since the process began."""

from __future__ import annotations

import os
import time
from pathlib import Path

_IMPORTED = time.perf_counter()


class Clock:
    """Counts steps and their time; evaluations, pictures and checkpoints are left out by `pause` and `go`."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._since = time.perf_counter()
        self._steps = self._all_steps = 0
        self._seconds = self._all_seconds = 0.0

    def go(self) -> None:
        """Training goes on now."""
        self._since = time.perf_counter()

    def pause(self, steps: int) -> None:
        """Training has just done `steps` steps and does something else."""
        seconds = time.perf_counter() - self._since
        self._steps += steps
        self._all_steps += steps
        self._seconds += seconds
        self._all_seconds += seconds

    def recent(self) -> float:
        """Images per second since this was last asked."""
        steps, seconds, self._steps, self._seconds = self._steps, self._seconds, 0, 0.0
        return steps * self._batch_size / seconds if seconds else 0.0

    def overall(self) -> float:
        """Images per second of this process's whole training so far."""
        return self._all_steps * self._batch_size / self._all_seconds if self._all_seconds else 0.0


def since_process_start() -> float:
    """Wall seconds since this process was started (to 10 ms); elsewhere than on Linux, since this module was read."""
    try:
        began = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]  # ticks from boot to our start
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(began) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.perf_counter() - _IMPORTED

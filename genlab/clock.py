"""Images per second of training alone."""

from __future__ import annotations

import time


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

"""Where a run's time goes, and images per second of training alone."""

from __future__ import annotations

import time
from collections import defaultdict


class Clock:
    """Divides the training thread's time into named laps: what passes between two calls belongs to the later one.

    `seconds` holds the sum of each lap. The lap "training" also counts steps, for the images per second; it is read at
    a log step only, never at each step.
    """

    def __init__(self, batch_size: int) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._batch_size = batch_size
        self._since = time.perf_counter()
        self._steps = self._all_steps = 0
        self._seconds = 0.0  # of training, since `recent` was last asked

    def go(self) -> None:
        """Training begins, or goes on, now; what has passed unnamed counts nowhere."""
        self._since = time.perf_counter()

    def lap(self, name: str) -> float:
        """What has passed since the last call was `name`; its seconds."""
        now = time.perf_counter()
        passed, self._since = now - self._since, now
        self.seconds[name] += passed
        return passed

    def pause(self, steps: int) -> None:
        """Training has just done `steps` steps and does something else."""
        self._seconds += self.lap("training")
        self._steps += steps
        self._all_steps += steps

    def recent(self) -> float:
        """Images per second since this was last asked."""
        steps, seconds, self._steps, self._seconds = self._steps, self._seconds, 0, 0.0
        return steps * self._batch_size / seconds if seconds else 0.0

    def overall(self) -> float:
        """Images per second of this process's whole training so far."""
        seconds = self.seconds["training"]
        return self._all_steps * self._batch_size / seconds if seconds else 0.0

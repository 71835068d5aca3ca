"""How ranks learn that one of them was asked to stop, without synchronizing at every step."""

from __future__ import annotations

import time

from genlab.distributed.runtime import Runtime

SECONDS = 1.0  # between two questions, about
MOST_STEPS = 1000


class Agreement:
    """Ranks synchronize at the same steps; each synchronization also decides the next of these steps."""

    def __init__(self, runtime: Runtime, step: int) -> None:
        self._runtime = runtime
        self._asked = step
        self._next = step + 1
        self._since = time.perf_counter()

    def largest(self, step: int, signum: int) -> int:
        """The signal that some rank received, the same on all ranks, or 0; called after every step."""
        if self._runtime.world_size == 1:
            return signum
        if step < self._next:
            return 0
        now = time.perf_counter()
        pace = (now - self._since) / (step - self._asked)
        found, slowest = self._runtime.all_reduce_max([signum, pace])
        self._asked, self._since = step, now
        self._next = step + max(1, min(MOST_STEPS, int(SECONDS / max(slowest, 1e-9))))
        return int(found)

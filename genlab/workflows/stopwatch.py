"""Times a span of training steps, whoever trains: genlab's bench, its floor loops and its peers say the same things.

Imports neither torch nor anything that a peer's environment may lack.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from typing import Any

from genlab.engine.timer import since_process_start


class Stopwatch:
    """Called after each step with its number, from 1: times the `steps` steps that follow `warmup` others.

    Only the first step and the two ends of the span wait for the device.
    """

    def __init__(self, warmup: int, steps: int) -> None:
        self.first, self.last = warmup, warmup + steps
        self.first_step: float | None = None
        self._began: tuple[float, float] | None = None
        self._figures: dict[str, Any] = {}

    def __call__(self, step: int) -> bool:
        """Whether the span is over."""
        if self.first_step is None:
            _synchronize()
            self.first_step = round(since_process_start(), 3)
        if step == self.first:
            _synchronize()
            self._began = time.perf_counter(), _cpu_seconds()
        elif step == self.last and self._began:
            _synchronize()
            wall, cpu = time.perf_counter() - self._began[0], _cpu_seconds() - self._began[1]
            self._figures = {"wall": wall, "cpu": cpu, "peak_rss": _peak_rss()}
        return step >= self.last

    @property
    def done(self) -> bool:
        return bool(self._figures)

    def figures(self, batch: int) -> dict[str, Any]:
        """The measurements by the names used in every comparison, in bytes and seconds."""
        torch, images = sys.modules["torch"], (self.last - self.first) * batch
        on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
        on_apple = torch.backends.mps.is_available() and torch.mps.current_allocated_memory() > 0
        found = {
            "batch": batch,
            "steps": self.last - self.first,
            "images_per_s": round(images / self._figures["wall"], 2),
            "images_per_cpu_s": round(images / self._figures["cpu"], 2),
            "first_step_s": self.first_step,
            "peak_rss": self._figures["peak_rss"],
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if on_gpu else "mps" if on_apple else "cpu",
        }
        return {**found, "peak_gpu": torch.cuda.max_memory_allocated()} if on_gpu else found


def _synchronize() -> None:
    torch = sys.modules["torch"]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def _cpu_seconds() -> float:
    """Of all threads, and of child processes that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _peak_rss() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, kilobytes on Linux

"""Writes a run's checkpoints during training, from a snapshot in memory whose buffers are reused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from genlab.checkpoint import manager
from genlab.errors import DivergedError

if TYPE_CHECKING:
    from genlab.checkpoint.async_writer import Worker
    from genlab.runs.run_folder import RunFolder


class Saver:
    """Takes snapshots in the caller's thread; a worker commits them and updates run.json.

    There is one snapshot at a time: the next is taken only after the previous one is on the disk.
    """

    def __init__(
        self, keeper: manager.Checkpoints, folder: RunFolder, worker: Worker, metadata: Mapping[str, Any]
    ) -> None:
        """`metadata` go into each checkpoint's state."""
        self._keeper, self._folder, self._worker, self._metadata = keeper, folder, worker, metadata
        self._tensors: dict[str, Tensor] = {}
        self._number = 0  # of the worker's job that reads the snapshot
        self._began = time.perf_counter()
        self._before = folder.record.get("seconds", 0)
        self._spent_before: dict[str, float] = folder.record.get("time", {})

    def save(self, step: int, objects: Mapping[str, Any], state: Mapping[str, Any], spent: Mapping[str, float]) -> None:
        """Submit a checkpoint; returns as soon as the snapshot is copied.

        `spent` holds this process's seconds by activity. Raises the error of an earlier job of the worker:
        DivergedError for a snapshot that is not finite, which is not written, ResourceError for a full disk.
        """
        self._worker.wait(self._number)
        self._tensors, structure = manager.pack(objects, self._tensors)
        whole = {**state, "metrics": dict(state["metrics"]), **self._metadata, "structure": structure}
        seconds = round(self._before + time.perf_counter() - self._began, 1)
        times = self.times(spent)
        self._number = self._worker.submit(lambda: self._commit(step, whole, seconds, times))

    def times(self, spent: Mapping[str, float]) -> dict[str, float]:
        """`spent` and the writing thread's own processor seconds, over all processes that the run has had."""
        now = {**spent, "writing": self._worker.seconds}
        return {name: round(self._spent_before.get(name, 0) + value, 3) for name, value in now.items()}

    def _commit(self, step: int, state: dict[str, Any], seconds: float, times: dict[str, float]) -> None:
        bad = manager.non_finite(self._tensors)
        if bad:
            raise DivergedError(
                f"'{bad[0]}' is not finite at step {step}",
                "it was not saved",
                "try a lower optimizer.lr or trainer.precision=fp32",
            )
        self._keeper.save(step, self._tensors, state)
        self._folder.update(step=step, metrics=state["metrics"], best=state["best"],
                            diagnoses=state["diagnoses"], protocols=state["protocols"],
                            seconds=seconds, time=times)  # fmt: skip

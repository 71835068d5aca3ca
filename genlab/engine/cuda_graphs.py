"""Whole training steps as CUDA graphs: one launch per step instead of hundreds, which dominate in small networks.

A step is recorded once (forward, backward, optimizer, average of weights) and then replayed on new data. Values that
change between steps are in tensors at fixed addresses: the batch, the learning rates and the decay of the average. A
replay reads the current seed and offset of torch's generator.
PyTorch documentation, "CUDA semantics: CUDA Graphs": warm-up on a side stream, static inputs, a shared memory pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from genlab.config.trainer_config import TrainerConfig
from genlab.distributed.runtime import Runtime
from genlab.errors import first_line
from genlab.utils.terminal import say

WARM_UP = 3  # ordinary steps before a recording: libraries choose their kernels, optimizers make their state

Values = dict[str, Tensor]
Replay = Callable[[], Values]
Step = Callable[[Sequence[Tensor]], Values]  # columns of a batch -> what was logged


class Recorder(Protocol):
    """How a step is recorded: with `torch.cuda` on a GPU, with a substitute in tests on a CPU."""

    def warm(self, step: Callable[[], Values]) -> Values:
        """Run an ordinary step in preparation for recording."""

    def record(self, step: Callable[[], Values]) -> Replay:
        """Record a step without running it; RuntimeError if that is impossible."""


class CudaRecorder:
    """CUDA graphs in a common memory pool: only one of them runs at a time."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._aside = torch.cuda.Stream()

    def warm(self, step: Callable[[], Values]) -> Values:
        current = torch.cuda.current_stream()
        self._aside.wait_stream(current)
        with torch.cuda.stream(self._aside):
            values = step()
        current.wait_stream(self._aside)
        return values

    def record(self, step: Callable[[], Values]) -> Replay:
        graph = torch.cuda.CUDAGraph()
        # thread_local: another thread may copy the next batch into pinned memory during the recording
        with torch.cuda.graph(graph, pool=self._pool, stream=self._aside, capture_error_mode="thread_local"):
            values = step()
        self._pool = graph.pool()

        def replay() -> Values:
            graph.replay()
            return values

        return replay


class Graphs:
    """Runs steps; the fourth and later steps of a kind replay its graph. `kind`: the phases that the step updates."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._made: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, tuple[list[Tensor], Replay]] = {}
        self._failed = False

    def make(self, kind: Hashable, columns: Sequence[Tensor], step: Step, seed: Callable[[], None]) -> Values:
        """Run one step on `columns`, whose shapes never change; returns its logs, valid until the next step.

        `seed` is called first, and again if a recording fails after it has used random numbers.
        """
        seed()
        if kind not in self._recorded and not self._failed:
            self._made[kind] += 1
            if self._made[kind] <= WARM_UP:
                return self._recorder.warm(lambda: step(columns))
            self._record(kind, columns, step, seed)
        if self._failed:
            return step(columns)
        inputs, replay = self._recorded[kind]
        torch._foreach_copy_(inputs, list(columns))
        return replay()

    def _record(self, kind: Hashable, columns: Sequence[Tensor], step: Step, seed: Callable[[], None]) -> None:
        inputs = [column.clone() for column in columns]
        try:
            self._recorded[kind] = inputs, self._recorder.record(lambda: step(inputs))
        except RuntimeError as error:
            self._failed = True
            cause = error.__context__ or error  # ending a failed recording raises another error
            say(f"steps cannot be recorded as CUDA graphs ({first_line(cause)}); training continues without")
            seed()


def why_not_capturable(config: TrainerConfig, runtime: Runtime, without_gradient: bool) -> str | None:
    """Why no step of this run can be recorded, in a few words; None if some steps can be.

    `without_gradient`: every step has a phase that updates without gradients. Such steps are not recorded.
    """
    reasons = {
        "under trainer.precision=fp16 the host decides whether to apply an update": runtime.precision == "fp16",
        "trainer.grad_accum_steps uses several batches per step": config.grad_accum_steps > 1,
        "several processes exchange gradients": runtime.world_size > 1,
        "every step has a phase that updates without gradients": without_gradient,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)

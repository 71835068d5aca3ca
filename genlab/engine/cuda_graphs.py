"""Whole training steps as CUDA graphs: one launch a step instead of hundreds, which is what small networks wait for.

A step is recorded once (forward, backward, optimizer, average of weights) and then replayed on new data. What
changes from step to step reaches it through tensors that stay where they are: the batch, the learning rates, the
share of the average, and the seed and offset of torch's generator, which a replay takes as they are at that moment.
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
from genlab.utils.progress import say

WARM_UP = 3  # ordinary steps before a recording: libraries choose their kernels, optimizers make their state

Values = dict[str, Tensor]
Replay = Callable[[], Values]
Step = Callable[[Sequence[Tensor]], Values]  # columns of a batch -> what was logged


class Recorder(Protocol):
    """How a step is recorded: `torch.cuda` on a GPU; tests on a CPU put another in its place."""

    def warm(self, step: Callable[[], Values]) -> Values:
        """Make a step such that it can be recorded later."""

    def record(self, step: Callable[[], Values]) -> Replay:
        """Record a step without making it. RuntimeError if it cannot be."""


class CudaRecorder:
    """Graphs that share one pool of memory: only one of them runs at a time."""

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
        # thread_local: a thread that reads the next batch into pinned memory meanwhile breaks nothing
        with torch.cuda.graph(graph, pool=self._pool, stream=self._aside, capture_error_mode="thread_local"):
            values = step()
        self._pool = graph.pool()

        def replay() -> Values:
            graph.replay()
            return values

        return replay


class Graphs:
    """Makes steps; from the fourth of a kind on by replaying its graph. `kind`: the phases that it updates."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._made: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, tuple[list[Tensor], Replay]] = {}
        self._failed = False

    def make(self, kind: Hashable, columns: Sequence[Tensor], step: Step, seed: Callable[[], None]) -> Values:
        """One step on `columns`, whose shapes never change; what it logged, valid until the next step is made.

        `seed` is called first, and again if a recording that has drawn numbers breaks off.
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
            cause = error.__context__ or error  # leaving a broken recording raises an error of its own
            reason = str(cause).splitlines()[0][:120]
            say(f"steps cannot be recorded as CUDA graphs ({reason}); training continues without")
            seed()


def why_not_capturable(config: TrainerConfig, runtime: Runtime, without_gradient: bool) -> str | None:
    """Why no step of this run can be recorded, in a few words; None if some can.

    `without_gradient`: in each step a phase moves that makes its update itself. Such steps are not recorded.
    """
    reasons = {
        "trainer.precision=fp16 decides on the host whether a step is made": runtime.precision == "fp16",
        "trainer.grad_accum_steps draws noise more than once a step": config.grad_accum_steps > 1,
        "several processes exchange gradients": runtime.world_size > 1,
        "in each of them a phase makes its update without a gradient": without_gradient,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)

"""One optimizer step: batch → loss of each phase → backward → mean over ranks → clip → update → average of weights.

Adversarial training is a list of phases, which each step runs in order. Faster versions of a step (compiling.py,
cuda_graphs.py) are chosen once, before the first step.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.config.trainer_config import TrainerConfig
from genlab.core import rng
from genlab.core.model import Model
from genlab.distributed.runtime import Runtime
from genlab.engine.cuda_graphs import CudaRecorder, Graphs, Recorder, why_not_capturable
from genlab.engine.optimizers import Average
from genlab.engine.phase_state import MakeOptimizer, PhaseState
from genlab.errors import ConfigError, DivergedError
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from genlab.data.dataset import Data

Values = dict[str, Tensor]  # logged scalars, still on the device


class Stepper:
    """Runs the training steps of `model` on `data`, without logs, evaluations and checkpoints."""

    def __init__(
        self, model: Model, data: Data, runtime: Runtime, config: TrainerConfig, seed: int, optimizer: MakeOptimizer
    ) -> None:
        self.model, self.runtime, self.config, self.seed = model, runtime, config, seed
        self.channels_last = runtime.channels_last(config.channels_last, model, config.batch_size)
        memory_format = torch.contiguous_format
        if self.channels_last:
            memory_format = torch.channels_last
            model.to(memory_format=memory_format)
        self.batches = data.batches(model.inputs, config.batch_size, runtime.rank, runtime.world_size, memory_format)
        model.check_batch(self.batches.local_batch_size(config.grad_accum_steps))  # fails now rather than at step 1
        self.shared_forward: Callable[..., Any] = model.shared_forward
        self.phases = PhaseState.all_of(model.phases(), optimizer, runtime)
        self.average = Average(model, config.ema_decay) if config.ema_decay else None
        self._progress: Tensor | None = getattr(model, "progress", None)
        self._trainable: set[str] | None = None  # phases whose parameters require gradients now
        self._diverged = torch.zeros((), device=runtime.device)  # becomes 1 if a loss or a gradient is not finite
        self._checked: set[str] = set()  # phases whose objective returns what it should
        self._graphs: Graphs | None = None
        self._logged = True
        self.try_first: Callable[[list[PhaseState], int], None] | None = None  # of a compiled step (compiling.py)
        if runtime.device.type == "cuda" and config.cuda_graphs:
            self._record_if_possible()

    def _record_if_possible(self) -> None:
        always = any(
            phase.optimizer is None and phase.spec.every == 1 and phase.spec.window == (0.0, 1.0)
            for phase in self.phases
        )
        reason = why_not_capturable(self.config, self.runtime, always)
        if reason is None:
            self.record_with(CudaRecorder())
        elif self.runtime.is_main:
            say(f"steps are not recorded as CUDA graphs: {reason}")

    def record_with(self, recorder: Recorder) -> None:
        """Record and replay steps with `recorder` from now on."""
        if self.average:
            self.average.capturable()
        self._graphs = Graphs(recorder)

    # ------------------------------------------------------------------ a step

    def make(self, step: int, total: int, factor: float, logged: bool = True) -> Values:
        """Step `step` (from 0) of `total`, at `factor` times the configured learning rates; returns what is logged.

        Unless the step is `logged`, metrics that only logs need are left out.
        """
        self._logged = logged or self._graphs is not None  # a recorded step is replayed for those that are logged
        due = [phase for phase in self.phases if phase.due(step, total)]
        for phase in due:
            phase.set_rate(factor)
        if self._progress is not None:
            self._progress.fill_((step + 0.5) / total)
        if self.average:
            self.average.at(step + 1)
        if self.try_first:
            self.try_first(due, step)
        if self.config.grad_accum_steps > 1:
            return self._update(due, step, partial(self._parts, step=step))
        columns = self.batches.at(step)
        seed = partial(rng.seed, self.seed, step, 0)  # depends on the step only, so it is equal after a resume
        if self._graphs is None:
            seed()
            shared = self._forward(due, columns)
            return self._update(due, step, lambda phase: [shared])
        if any(phase.optimizer is None for phase in due):  # an update without gradients may need the host
            seed()
            return self._capturable(due, step, columns)
        names = tuple(phase.name for phase in due)
        return self._graphs.make(names, columns, partial(self._capturable, due, step), seed)

    def _update(
        self, due: list[PhaseState], step: int, parts: Callable[[PhaseState], Iterable[tuple[Tensor, ...]]]
    ) -> Values:
        """Update each phase in turn from the `parts` of its batch; returns the means of what the phases log.

        Use `step` in messages only: a recorded step is replayed for later ones.
        """
        values: Values = {}
        count = self.config.grad_accum_steps
        for phase in due:
            logs: Values = {}
            for shared in parts(phase):
                self.require_grad([phase])
                inputs = self._inputs(phase, shared)
                with self.context(phase):
                    found = phase.spec.objective(*inputs)
                self._check_objective(phase, found)
                if phase.optimizer:
                    phase.backward(found["loss"] / count if count > 1 else found["loss"])
                for name, value in (found | self._metrics(phase, inputs)).items():
                    logs[name] = logs[name] + value.detach() if name in logs else value.detach()
            if count > 1:
                logs = {name: value / count for name, value in logs.items()}
            self._descend(phase, step, logs)
            values |= self._prefixed(phase, logs)
        if self.average:
            self.average.blend()
        return values

    def _metrics(self, phase: PhaseState, inputs: tuple[Tensor, ...]) -> Values:
        """What only logs need of a phase, if it may be logged; the noise of later phases does not change."""
        if phase.spec.metrics is None or not (self._logged or phase.spec.every > 1):
            return {}
        aside = contextlib.nullcontext() if self._graphs else rng.aside(self.runtime.device)
        with torch.no_grad(), self.context(phase), aside:
            found = phase.spec.metrics(*inputs)
        problem = _not_scalars(found) or ("'loss', which is the objective's" if "loss" in found else None)
        if problem:
            raise self._mistake(f"metrics of phase '{phase.name}' are", problem)
        return found

    def _check_objective(self, phase: PhaseState, found: Any) -> None:
        """ConfigError, at the first step of a phase, unless its objective returns what `Phase` asks for."""
        if phase.name in self._checked:
            return
        problem = _not_scalars(found)
        if not problem and phase.optimizer and not ("loss" in found and found["loss"].requires_grad):
            problem = "no 'loss' that depends on its parameters"
        if problem:
            raise self._mistake(f"the objective of phase '{phase.name}' returns", problem)
        self._checked.add(phase.name)

    def _mistake(self, what: str, problem: str) -> ConfigError:
        kind = type(self.model)
        return ConfigError(
            f"{what} {problem}",
            f"{kind.__name__} in {getattr(sys.modules[kind.__module__], '__file__', kind.__module__)}",
            "return a dict of scalar tensors: 'loss', to be minimized, from the objective, and others to log",
        )

    def _capturable(self, due: list[PhaseState], step: int, columns: Sequence[Tensor]) -> Values:
        """A step that a CUDA graph can record: learning rates are read from the device."""
        with contextlib.ExitStack() as stack:
            for phase in {id(phase.optimizer): phase for phase in reversed(due)}.values():  # each optimizer once
                stack.enter_context(phase.capturable())
            try:
                shared = self._forward(due, columns)
                return self._update(due, step, lambda phase: [shared])
            except RuntimeError:  # gradients of a broken recording were never computed
                for phase in due:
                    phase.drop_gradients()
                raise

    def _parts(self, phase: PhaseState, step: int) -> Iterator[tuple[Tensor, ...]]:
        """`shared_forward` of each part of an accumulated batch; each phase computes them again."""
        return (self.part([phase], step, part) for part in range(self.config.grad_accum_steps))

    def part(self, due: list[PhaseState], step: int, part: int) -> tuple[Tensor, ...]:
        """The result of `shared_forward` for one part of the batch of `step`."""
        columns = self.batches.at(step, part, self.config.grad_accum_steps)
        rng.seed(self.seed, step, part)
        return self._forward(due, columns)

    def _forward(self, due: list[PhaseState], columns: Sequence[Tensor]) -> tuple[Tensor, ...]:
        self.require_grad(due)
        with self.runtime.autocast():
            return tuple(self.shared_forward(*columns))

    def _prefixed(self, phase: PhaseState, logs: Values) -> Values:
        """Log names begin with the phase's name if several phases have a loss."""
        descending = sum(each.optimizer is not None for each in self.phases)
        if len(self.phases) == 1 or (phase.optimizer and descending == 1):
            return logs
        return {f"{phase.name}/{name}": value for name, value in logs.items()}

    def _descend(self, phase: PhaseState, step: int, logs: Values) -> None:
        """Update the parameters of a phase unless a loss or a gradient is not finite; logs the gradient's norm."""
        if not phase.optimizer:
            return
        logs["gradient_norm"], bad = phase.descend(self.runtime, self.config.grad_clip, logs["loss"])
        if isinstance(bad, Tensor):  # read when something is logged
            torch.maximum(self._diverged, bad, out=self._diverged)
        elif bad:
            raise _diverged(phase.name, step)
        phase.step()

    def context(self, phase: PhaseState) -> contextlib.AbstractContextManager[Any]:
        """The context of an objective: mixed precision with gradients; without gradients, equal noise on all ranks."""
        return self.runtime.autocast() if phase.optimizer else _without_gradients()

    def _inputs(self, phase: PhaseState, shared: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A phase without gradients receives the global batch if it `gathers`: all ranks make the same update."""
        return self.runtime.gather(shared) if phase.spec.gathers and not phase.optimizer else shared

    def check_finite(self, step: int) -> None:
        """DivergedError if the flag on the device says that a loss or a gradient was not finite."""
        if self._diverged:
            raise _diverged("+".join(phase.name for phase in self.phases), step)

    def require_grad(self, phases: Iterable[PhaseState]) -> None:
        """Set requires_grad for the parameters of these phases, and clear it for all others."""
        names = {phase.name for phase in phases}
        if names == self._trainable:
            return
        self._trainable = names
        for trainable in (False, True):  # True last: a module may belong to phases of both kinds
            for phase in self.phases:
                if (phase.name in names) is trainable:
                    for parameter in phase.parameters:
                        parameter.requires_grad_(trainable)


@contextlib.contextmanager
def _without_gradients() -> Iterator[None]:
    with torch.no_grad(), rng.replicated():
        yield


def _not_scalars(found: Any) -> str | None:
    """What is wrong with values that should be a dict of scalar tensors."""
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    vectors = (name for name, value in found.items() if not isinstance(value, Tensor) or value.ndim)
    first = next(vectors, None)
    return None if first is None else f"'{first}', which is not a scalar tensor"


def _diverged(phase: str, step: int) -> DivergedError:
    return DivergedError(
        f"the loss or a gradient of phase '{phase}' is not finite at step {step}",
        "no such update was made",
        "try a lower optimizer.lr, trainer.grad_clip=1 or precision=fp32",
    )

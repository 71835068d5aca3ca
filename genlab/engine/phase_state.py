"""A phase with what updates it: parameters, optimizer, loss scale."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from genlab.core.model import Phase
from genlab.distributed.runtime import Runtime
from genlab.errors import DivergedError

SMALLEST_SCALE = 2.0**-14  # a loss scale below this means that every step is being skipped
MakeOptimizer = Callable[[str, list[nn.Parameter]], torch.optim.Optimizer]  # phase name, parameters


@dataclass
class PhaseState:
    """A phase in training. `optimizer` is None for a phase that updates itself, without gradients.

    Phases of the same module share the optimizer and the loss scale of the first.
    """

    spec: Phase
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer | None
    scaler: torch.amp.GradScaler | None
    configured: list[dict[str, Any]] = field(default_factory=list)  # each group's options before the schedule
    _rates: list[Tensor] = field(default_factory=list)  # each group's rate on the device, for captured steps
    _written: list[float] = field(default_factory=list)  # the rates last written there
    _flat: Tensor | None = None  # buffer of the all-reduce of gradients

    @classmethod
    def all_of(cls, phases: Sequence[Phase], make: MakeOptimizer, runtime: Runtime) -> list[PhaseState]:
        """The state of each phase, in their order."""
        states: list[PhaseState] = []
        for phase in phases:
            known = next((each for each in states if each.spec.module is phase.module is not None), None)
            states.append(replace(known, spec=phase) if known else cls._of(phase, make, runtime))
        return states

    @classmethod
    def _of(cls, phase: Phase, make: MakeOptimizer, runtime: Runtime) -> PhaseState:
        if phase.module is None:
            return cls(phase, [], None, None)
        parameters = [p for p in phase.module.parameters() if p.requires_grad]
        optimizer = make(phase.name, parameters)
        options = [{key: v for key, v in group.items() if key != "params"} for group in optimizer.param_groups]
        return cls(phase, parameters, optimizer, runtime.scaler(), options)

    @property
    def name(self) -> str:
        return self.spec.name

    def due(self, step: int, total: int) -> bool:
        """Whether `step` (from 0) of `total` updates this phase: with `every` n, the last of each n steps does."""
        return (step + 1) % self.spec.every == 0 and self.active(step, total)

    def active(self, step: int, total: int) -> bool:
        """Whether `step` lies in the part of training to which this phase belongs."""
        start, end = self.spec.window
        return start * total <= step < end * total

    def set_rate(self, factor: float) -> None:
        """Set the learning rate to `factor` times the configured one."""
        if self.optimizer:
            for index, (group, options) in enumerate(zip(self.optimizer.param_groups, self.configured, strict=True)):
                rate = options["lr"] * factor
                if self._rates and self._written[index] != rate:
                    self._rates[index].fill_(rate)
                    self._written[index] = rate
                group["lr"] = rate

    @contextlib.contextmanager
    def capturable(self) -> Iterator[None]:
        """Inside, the optimizer reads its rate from the device, so that a captured step follows `set_rate`.

        Outside, its groups hold plain numbers, so that checkpoints with and without graphs are the same.
        """
        if self.optimizer is None:
            yield
            return
        groups = self.optimizer.param_groups
        plain: list[dict[str, Any]] = [
            {k: v for k, v in group.items() if k in ("lr", "capturable")} for group in groups
        ]
        if not self._rates:
            self._written = [group["lr"] for group in groups]
            self._rates = [torch.tensor(rate, device=self.parameters[0].device) for rate in self._written]
        for group, rate in zip(groups, self._rates, strict=True):
            group.update({key: True for key in group if key == "capturable"}, lr=rate)
        for state in self.optimizer.state.values():
            if "step" in state:  # a counter that other optimizers keep on the host
                state["step"] = state["step"].to(self.parameters[0].device)
        try:
            yield
        finally:
            for group, options in zip(groups, plain, strict=True):
                group.update(options)

    def configure(self) -> None:
        """Restore the configured options after a checkpoint has loaded those of an earlier process.

        The learning rate stays that of the phase's last update: the next one sets its own.
        """
        if self.optimizer:
            for group, options in zip(self.optimizer.param_groups, self.configured, strict=True):
                group.update({key: value for key, value in options.items() if key != "lr"})

    def backward(self, loss: Tensor) -> None:
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def descend(self, runtime: Runtime, clip: float | None, loss: Tensor) -> tuple[Tensor, Tensor | bool]:
        """Average gradients over ranks and clip them; returns their norm before clipping, and whether it is non-finite.

        On CUDA the non-finite flag stays on the device (1 or 0) and the update is already masked, so the host need not
        synchronize. Under fp16 gradients may overflow: the scaler skips that step and lowers its scale.
        """
        if runtime.world_size > 1:
            loss, self._flat = runtime.average(self.parameters, loss, self._flat)
        if self.scaler and self.optimizer:
            self.scaler.unscale_(self.optimizer)
        gradients = [gradient for p in self.parameters if (gradient := p.grad) is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, clip, norm)
        checked = loss if self.scaler else loss + norm
        if not runtime.asynchronous:
            return norm, not math.isfinite(checked)
        bad = (checked * 0).ne(0).float()  # 0·x is 0 for a finite x, else NaN: fewer operations than isfinite()
        if not self.scaler:
            self._mask_nonfinite(gradients, bad)
        return norm, bad

    def _mask_nonfinite(self, gradients: list[Tensor], bad: Tensor) -> None:
        """Keep non-finite numbers out of the parameters without reading the flag on the host."""
        if hasattr(self.optimizer, "_step_supports_amp_scaling"):  # a fused optimizer skips the step itself
            self.optimizer.found_inf = bad  # type: ignore[union-attr]
            return
        for gradient in gradients:
            gradient.masked_fill_(bad > 0, 0)

    def step(self) -> None:
        """Update the parameters and drop their gradients."""
        if self.optimizer is None:
            return
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.drop_gradients()

    def drop_gradients(self) -> None:
        for parameter in self.parameters:  # as zero_grad does, without its profiler range
            parameter.grad = None

    def check_scale(self, step: int) -> None:
        """DivergedError if the loss scale has collapsed."""
        if self.scaler and self.scaler.get_scale() < SMALLEST_SCALE:
            raise DivergedError(
                f"the loss scale of phase '{self.name}' fell below {SMALLEST_SCALE:g}",
                f"step {step}",
                "every step was skipped: use trainer.precision=bf16 or fp32",
            )

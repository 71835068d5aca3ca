"""A phase with what moves it: parameters, optimiser, loss scale."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
    """One player of the game. `optimizer` is None for a phase that updates itself, without gradients.

    Phases of the same module are moves of one player: they share the optimiser and the loss scale of the first.
    """

    phase: Phase
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer | None
    scaler: torch.amp.GradScaler | None
    configured: list[dict[str, Any]] = field(default_factory=list)  # each group's options before the schedule
    _rates: list[Tensor] = field(default_factory=list)  # each group's rate on the device, for captured steps
    _written: list[float] = field(default_factory=list)  # what was last written there
    _flat: Tensor | None = None  # the gradients as they go from rank to rank

    @classmethod
    def all_of(cls, phases: Sequence[Phase], make: MakeOptimizer, runtime: Runtime) -> list[PhaseState]:
        """A player for each phase, in their order."""
        players: list[PhaseState] = []
        for phase in phases:
            known = next((p for p in players if p.phase.module is phase.module is not None), None)
            players.append(
                cls(phase, known.parameters, known.optimizer, known.scaler, known.configured)
                if known
                else cls._of(phase, make, runtime)
            )
        return players

    @classmethod
    def _of(cls, phase: Phase, make: MakeOptimizer, runtime: Runtime) -> PhaseState:
        if phase.module is None:
            return cls(phase, [], None, None)
        parameters = [p for p in phase.module.parameters() if p.requires_grad]
        optimizer = make(phase.name, parameters)
        options = [{key: v for key, v in group.items() if key != "params"} for group in optimizer.param_groups]
        return cls(phase, parameters, optimizer, runtime.scaler(), options)

    def due(self, step: int, total: int) -> bool:
        """Whether this player moves in `step` (from 0) of `total`: with `every` n in the last of each n steps."""
        start, end = self.phase.window
        return (step + 1) % self.phase.every == 0 and start * total <= step < end * total

    def set_rate(self, factor: float) -> None:
        """Set the learning rate to `factor` times what the configuration says."""
        if self.optimizer:
            for index, (group, options) in enumerate(zip(self.optimizer.param_groups, self.configured, strict=True)):
                rate = options["lr"] * factor
                if self._rates and self._written[index] != rate:
                    self._rates[index].fill_(rate)
                    self._written[index] = rate
                group["lr"] = rate

    @contextlib.contextmanager
    def capturable(self) -> Iterator[None]:
        """Meanwhile the optimiser reads its rate from the device: a captured step goes on following `set_rate`.

        Outside, its groups hold plain numbers: a checkpoint is the same whichever way the steps were made.
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
            if "step" in state:  # a counter that an optimiser of plain numbers keeps on the host
                state["step"] = state["step"].to(self.parameters[0].device)
        try:
            yield
        finally:
            for group, options in zip(groups, plain, strict=True):
                group.update(options)

    def configure(self) -> None:
        """Give the optimiser its configured options back, after a checkpoint has brought those of its own run."""
        if self.optimizer:
            for group, options in zip(self.optimizer.param_groups, self.configured, strict=True):
                group.update(options)

    def backward(self, loss: Tensor) -> None:
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def descend(self, runtime: Runtime, clip: float | None, loss: Tensor) -> tuple[Tensor, Tensor | bool]:
        """Average gradients over ranks and clip them: their norm before clipping, and whether no step may be made.

        Where the host runs ahead of the device that is a number there, 1 or 0, and the update is already prevented.
        Under fp16 an overflowing gradient is no reason to stop: the scaler skips that step and lowers its scale.
        """
        if runtime.world_size > 1:
            loss, self._flat = runtime.average(self.parameters, loss, self._flat)
        if self.scaler and self.optimizer:
            self.scaler.unscale_(self.optimizer)
        gradients = [gradient for p in self.parameters if (gradient := p.grad) is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, clip, norm)
        telling = loss if self.scaler else loss + norm
        if not runtime.asynchronous:
            return norm, not math.isfinite(telling)
        bad = (telling * 0).ne(0).float()  # 0·x is 0 for a finite x, else NaN: fewer operations than isfinite()
        if not self.scaler:
            self._mask_nonfinite(gradients, bad)
        return norm, bad

    def _mask_nonfinite(self, gradients: list[Tensor], bad: Tensor) -> None:
        """Let no number that is not finite into the parameters, without asking the device what it found."""
        if hasattr(self.optimizer, "_step_supports_amp_scaling"):  # a fused optimiser leaves the step out when told
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
        for parameter in self.parameters:  # as zero_grad does, without its profiler's range
            parameter.grad = None

    def check_scale(self, step: int) -> None:
        """DivergedError if the loss scale has collapsed."""
        if self.scaler and self.scaler.get_scale() < SMALLEST_SCALE:
            raise DivergedError(
                f"the loss scale of phase '{self.phase.name}' fell below {SMALLEST_SCALE:g}",
                f"step {step}",
                "every step was skipped: use trainer.precision=bf16 or fp32",
            )

"""A phase with what moves it: parameters, optimiser, loss scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import DivergedError
from genlab.model import Phase
from genlab.runtime import Runtime

SMALLEST_SCALE = 2.0**-14  # a loss scale below this means that every step is being skipped
MakeOptimizer = Callable[[str, list[nn.Parameter]], torch.optim.Optimizer]  # phase name, parameters


@dataclass
class Player:
    """One player of the game. `optimizer` is None for a phase that updates itself, without gradients."""

    phase: Phase
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer | None
    scaler: torch.amp.GradScaler | None
    configured: list[dict[str, Any]] = field(default_factory=list)  # each group's options before the schedule
    _flat: Tensor | None = None  # the gradients as they go from rank to rank

    @classmethod
    def of(cls, phase: Phase, make: MakeOptimizer, runtime: Runtime) -> Player:
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
            for group, options in zip(self.optimizer.param_groups, self.configured, strict=True):
                group["lr"] = options["lr"] * factor

    def configure(self) -> None:
        """Give the optimiser its configured options back, after a checkpoint has brought those of its own run."""
        if self.optimizer:
            for group, options in zip(self.optimizer.param_groups, self.configured, strict=True):
                group.update(options)

    def backward(self, loss: Tensor) -> None:
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def descend(self, runtime: Runtime, clip: float | None, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Average gradients over ranks and clip them: their norm before clipping, and whether the step may be made.

        Under fp16 an overflowing gradient is no reason to stop: the scaler skips that step and lowers its scale.
        """
        if runtime.world > 1:
            loss, self._flat = runtime.average(self.parameters, loss, self._flat)
        if self.scaler and self.optimizer:
            self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if clip:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, clip, norm)
        finite = loss.isfinite() if self.scaler else (loss + norm).isfinite()
        if self._skips_itself:
            self.optimizer.found_inf = (~finite).float()  # type: ignore[union-attr]
        return norm, finite

    def step(self) -> None:
        """Update the parameters and drop their gradients."""
        if self.optimizer is None:
            return
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def _skips_itself(self) -> bool:
        """A fused optimiser on a GPU makes no update when told, on the device, that a number is not finite."""
        fused = hasattr(self.optimizer, "_step_supports_amp_scaling")
        return fused and not self.scaler and self.parameters[0].device.type == "cuda"

    def needs_check(self, runtime: Runtime) -> bool:
        """Whether the host must look at the finite flag before the step; else it looks at the next log step."""
        return runtime.device.type == "cpu" or not (self.scaler or self._skips_itself)

    def check_scale(self, step: int) -> None:
        """DivergedError if the loss scale has collapsed."""
        if self.scaler and self.scaler.get_scale() < SMALLEST_SCALE:
            raise DivergedError(
                f"the loss scale of phase '{self.phase.name}' fell below {SMALLEST_SCALE:g}",
                f"step {step}",
                "every step was skipped: use trainer.precision=bf16 or fp32",
            )

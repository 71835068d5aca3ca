"""`trainer.compile`: torch.compile for the functions of a step; if it fails, one line says so and they run eagerly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genlab.core.model import Model
from genlab.core.uncompiled import keep_out
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from genlab.engine.phase_state import PhaseState
    from genlab.engine.step import Stepper


class Compilation:
    """Compiles a stepper's `shared_forward` and objectives, and restores the uncompiled ones if that fails."""

    def __init__(self, stepper: Stepper, backend: str = "inductor") -> None:
        self._stepper = stepper
        self._report: Callable[[str], None] = say if stepper.runtime.is_main else lambda line: None
        self._uncompiled = [stepper.shared_forward, *(phase.spec.objective for phase in stepper.phases)]
        self._checked: set[tuple[str, ...]] = set()  # sets of phases that have been tried together
        if type(stepper.model).shared_forward is not Model.shared_forward:
            stepper.shared_forward = compiled(stepper.shared_forward, "shared_forward()", backend, self._report)
        for phase in stepper.phases:
            if phase.optimizer:
                objective = compiled(phase.spec.objective, f"phase '{phase.name}'", backend, self._report)
                phase.spec = replace(phase.spec, objective=objective)
        stepper.try_first = self.check

    def check(self, due: list[PhaseState], step: int) -> None:
        """Before the first step of these phases, test its forward and backward; stop compiling if one fails.

        A function can compile while its gradient cannot. Training would find out after it has updated other phases.
        """
        stepper, names = self._stepper, tuple(phase.name for phase in due)
        if not self._uncompiled or names in self._checked:
            return
        self._checked.add(names)
        before = [buffer.clone() for buffer in stepper.model.buffers()]
        try:
            for phases in [due] if stepper.config.grad_accum_steps == 1 else [[phase] for phase in due]:
                shared = stepper.part(phases, step, 0)
                for phase in phases:
                    if phase.optimizer:
                        stepper.require_grad([phase])
                        with stepper.context(phase):
                            loss = phase.spec.objective(*shared)["loss"]
                        phase.backward(loss)
        except RuntimeError as error:
            if not cannot_compile(error):
                raise
            self._undo(error)  # on every rank: they run the same code
        for phase in due:
            phase.drop_gradients()
        for buffer, value in zip(stepper.model.buffers(), before, strict=True):
            buffer.copy_(value)

    def _undo(self, error: RuntimeError) -> None:
        self._report(f"a compiled step fails ({type(error).__name__}: {_short(error)}); training runs uncompiled")
        self._stepper.shared_forward, *objectives = self._uncompiled
        self._uncompiled = []
        for phase, objective in zip(self._stepper.phases, objectives, strict=True):
            phase.spec = replace(phase.spec, objective=objective)


def compiled(
    function: Callable[..., Any], what: str, backend: Any = "inductor", report: Callable[[str], None] = say
) -> Callable[..., Any]:
    """`function`, compiled at its first call for the shapes of its arguments; uncompiled, with a report, if that fails.

    Random numbers are those of eager mode, so a compiled run gets the same noise.
    """
    import torch
    from torch._dynamo.exc import TorchDynamoException

    keep_out()
    options: Any = {"fallback_random": True} if backend == "inductor" else None
    fast: Callable[..., Any] | None = torch.compile(function, backend=backend, dynamic=False, options=options)

    def call(*arguments: Any) -> Any:
        nonlocal fast
        if fast is not None:
            try:
                return fast(*arguments)
            except TorchDynamoException as error:
                fast = None
                report(
                    f"torch.compile cannot compile {what} ({type(error).__name__}: {_short(error)}); it runs as it is"
                )
        return function(*arguments)

    return call


def cannot_compile(error: RuntimeError) -> bool:
    """Whether the compiler is the reason, rather than memory, the device or another rank."""
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException) or "not currently support double backward" in str(error)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]

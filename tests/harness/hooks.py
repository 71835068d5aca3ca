"""Actions at a chosen moment inside a command: each function here makes the `before` of a forked child."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab.checkpoint.manager import Checkpoints
from genlab.engine import trainer
from tests.support.durable import hooked

Before = Callable[[], object]


def at_step(number: int, action: Callable[[], object]) -> Before:
    """Call `action` when step `number` of this process is done, before anything is logged or saved."""

    def before() -> None:
        _before_call(trainer.Trainer, "_after_step", number, action)

    return before


def in_evaluation(number: int, action: Callable[[], object]) -> Before:
    """Call `action` at the start of evaluation `number` of this process."""

    def before() -> None:
        _before_call(trainer, "evaluate", number, action)

    return before


def in_save(number: int, action: Callable[[str], object]) -> Before:
    """Call `action(kind)` at each system call that changes the disk in save `number` of this process, and at its end.

    A kind is such as "before rename" or "half write".
    """

    def before() -> None:
        save, left, patch = Checkpoints.save, [number], pytest.MonkeyPatch()

        def watched(self: Checkpoints, *arguments: Any) -> Path:
            left[0] -= 1
            if left[0] == 0:
                hooked(patch, lambda when, operation: action(f"{when} {operation}"))
            path = save(self, *arguments)
            if left[0] == 0:
                patch.undo()
                action("end")
            return path

        Checkpoints.save = watched  # type: ignore[method-assign]

    return before


def nth(kind: str, number: int, action: Callable[[], object]) -> Callable[[str], object]:
    """For `in_save`: call `action` once, at call `number` of this kind (from 0), or at the save's end."""
    left = [number]

    def watch(found: str) -> None:
        left[0] -= found == kind
        if left[0] == -1 or (found == "end" and left[0] >= 0):
            left[0] = -2
            action()

    return watch


def signaled(signum: int) -> Callable[[], object]:
    """An action: send this process a signal."""
    return lambda: os.kill(os.getpid(), signum)


def _before_call(owner: Any, name: str, number: int, action: Callable[[], object]) -> None:
    function, left = getattr(owner, name), [number]

    def watched(*arguments: Any, **keywords: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            action()
        return function(*arguments, **keywords)

    setattr(owner, name, watched)


killed = signaled(signal.SIGKILL)

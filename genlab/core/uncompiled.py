"""Functions that torch.compile skips, with everything that they call, since it has no second derivatives.

torch.compiler.disable as a decorator would load the compiler, which takes longer than a short run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Uncompiled(Generic[P, R]):
    """Decorator: torch.compile skips `function` after a call of `keep_out`."""

    known: list[Uncompiled] = []  # noqa: RUF012  shared by all instances

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        self.guarded = False
        functools.update_wrapper(self, function)
        self.known.append(self)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        return self.function(*arguments, **named)


def keep_out() -> None:
    """Exclude these functions from compilation; call it before the first torch.compile."""
    import torch

    for each in Uncompiled.known:
        if not each.guarded:
            each.function, each.guarded = torch.compiler.disable(each.function), True

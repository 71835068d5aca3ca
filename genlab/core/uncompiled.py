"""Functions that torch.compile leaves as they are, with all that they call: it has no second derivative.

torch's own decorator for this loads the compiler, which takes longer than a short run that compiles nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Uncompiled(Generic[P, R]):
    """Decorator."""

    known: list[Uncompiled] = []  # noqa: RUF012  one list for all, as it is meant

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        self.guarded = False
        functools.update_wrapper(self, function)
        self.known.append(self)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        return self.function(*arguments, **named)


def keep_out() -> None:
    """Hide them from the compiler: before anything is compiled that may call one."""
    import torch

    for each in Uncompiled.known:
        if not each.guarded:
            each.function, each.guarded = torch.compiler.disable(each.function), True

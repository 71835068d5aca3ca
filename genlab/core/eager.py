"""torch's optimizers without torch's compiler.

torch wraps an optimizer's methods for `torch.compile`. The first call of a wrapper imports `torch._dynamo` and sympy,
which takes a second. A run that compiles nothing can avoid that.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

T = TypeVar("T", bound=Optimizer)
DISABLED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def eager(kind: type[T]) -> type[T]:
    """A subclass of a torch optimizer with the same methods, unwrapped: equal updates, state and hooks.

    Returns `kind` itself if torch's compiler is loaded already, or if this version of torch has unknown wrappers.
    """
    return kind if "torch._dynamo" in sys.modules else _unwrapped(kind)  # type: ignore[arg-type]


@functools.cache
def _unwrapped(kind: Any) -> Any:
    try:
        methods = {name: _inside(getattr(kind, name), "torch._compile", "inner") for name in DISABLED}
        step = _inside(kind.step, "torch.optim.optimizer", "_use_grad")
    except AttributeError:
        return kind
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(step)})


def _inside(method: Any, module: str, name: str) -> Callable[..., Any]:
    """The function inside the wrapper `name` of torch's `module`; AttributeError if `method` has no such wrapper."""
    while (method.__globals__["__name__"], method.__code__.co_name) != (module, name):
        method = method.__wrapped__
    inside: Callable[..., Any] = method.__wrapped__
    return inside

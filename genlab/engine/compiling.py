"""`trainer.compile`: torch.compile around what a step calls, and back to eager with one line where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genlab.core.uncompiled import keep_out
from genlab.utils.progress import say


def compiled(
    function: Callable[..., Any], what: str, backend: Any = "inductor", tell: Callable[[str], None] = say
) -> Callable[..., Any]:
    """`function`, compiled at its first call for the shapes that it sees; the same function, should that fail.

    `tell` is given the line that says why it failed: with several ranks, one says it for all.

    Random numbers are eager's own, so that a compiled run draws the same noise.
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
                reason = " ".join(str(error).split())[:120]
                tell(f"torch.compile cannot compile {what} ({type(error).__name__}: {reason}); it runs as it is")
        return function(*arguments)

    return call


def cannot_compile(error: RuntimeError) -> bool:
    """Whether the compiler is the reason; and not memory, the device or another rank, which eager steps need too."""
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException) or "not currently support double backward" in str(error)

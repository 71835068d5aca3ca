"""Ctrl-C and SIGTERM: the first asks for a clean stop, the second stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from genlab.errors import GenlabError, Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_pending = 0  # the signal for which `interrupt` raised last, until `forget_interrupt`


class Interrupted(KeyboardInterrupt):
    """Raised by a signal that ends the command at once; not an Exception, so that no handler swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


def interrupt(signum: int) -> None:
    """Raise Interrupted; while torch is being imported, exit at once, since its C code would swallow the exception."""
    global _pending
    _pending = signum
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    if getattr(spec, "_initializing", False):  # there is nothing yet to clean up
        if os.environ.get("RANK", "0") == "0":
            os.write(2, b"genlab: stopped: by a signal; start it again; resume a run with: genlab resume RUN\n")
        os._exit(128 + signum)
    raise Interrupted(signum)


def forget_interrupt() -> None:
    """Forget pending signals."""
    global _pending
    _pending = 0


def as_interrupt(error: BaseException | None) -> BaseException | None:
    """The pending Interrupted if a library swallowed it (None) or turned it into another error; else `error`.

    A GenlabError that was not raised on the way of the interrupt stays: a rank that is ended for its own mistake
    reports the mistake.
    """
    cause = error
    while cause is not None and not isinstance(cause, Interrupted):
        cause = cause.__context__
    own = isinstance(error, Stopped) or (isinstance(error, GenlabError) and cause is None)
    return Interrupted(_pending) if _pending and not own else error


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """The list of signals received so far, for a caller that handles them when it can."""
    seen: list[int] = []
    before = {each: signal.signal(each, lambda signum, frame: seen.append(signum)) for each in SIGNALS}
    try:
        yield seen
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class StopRequest:
    """While entered, `signum` is the first SIGINT or SIGTERM received, else 0; the loop polls it.

    Until `arm` there is nothing to save: a signal raises Interrupted at once, and again in `arm` if a library (an
    import, a finalizer) swallowed it.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._armed = False
        self._before: dict[int, Any] = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:  # the second
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        if not self._armed:
            interrupt(signum)
        self.signum = signum
        if os.environ.get("RANK", "0") != "0":
            return
        with contextlib.suppress(OSError):  # written past Python's buffers, which may be in use just now
            os.write(2, b"\ngenlab: stopping after this step; a second signal stops at once\n")

    def arm(self) -> None:
        """From now on a signal asks for a clean stop."""
        swallowed = as_interrupt(None)
        if swallowed:
            raise swallowed
        self._armed = True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python delivers signals to no other
            self._before = {each: signal.signal(each, self._handle) for each in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        found = as_interrupt(error)
        forget_interrupt()
        if error and found and found is not error:
            raise found from error

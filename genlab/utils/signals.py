"""Ctrl-C and SIGTERM: the first asks for a clean stop, the second stops at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from genlab.errors import GenlabError, Stopped
from genlab.utils.terminal import is_main

SIGNALS = (signal.SIGINT, signal.SIGTERM)
POLL = 0.05  # seconds between looks at a main thread that has a signal to handle
BLOCKED = 2.0  # seconds until a rank that cannot handle a signal ends without it, if there is nothing to save
BLOCKED_TRAINING = 60.0  # the same while training: rank 0 may be evaluating, and the others wait until it can save
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
        if is_main():
            _write("genlab: stopped: by a signal; start it again; resume a run with: genlab resume RUN\n")
        os._exit(128 + signum)
    raise Interrupted(signum)


def _write(text: str) -> None:
    """On standard error, past Python's buffers, which may be in use just now."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


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


class _Watchdog:
    """Ends a rank whose main thread cannot handle a signal, because it waits for other processes in C code.

    Python runs handlers between two instructions of the main thread, so never while it waits for a peer that is gone.
    The interpreter's wake-up byte comes at once, and this thread reads it. `handled` is set by the handler.
    """

    def __init__(self, patience: Callable[[], float]) -> None:
        self.handled = False
        self._patience = patience
        self._wakes, self._bell = socket.socketpair()
        self._bell.setblocking(False)
        self._before = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="genlab-signals", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while byte := self._wakes.recv(1):
            if byte[0] in SIGNALS:
                self._wait_for_handler(byte[0])
                self.handled = False

    def _wait_for_handler(self, signum: int) -> None:
        """Return once the handler has run; end the process when patience is over or a second signal comes."""
        end, again = time.monotonic() + self._patience(), b""
        while not self.handled:
            if select.select([self._wakes], [], [], POLL)[0]:
                again = self._wakes.recv(1)
                if not again:  # closed by the main thread, so it runs
                    return
            if time.monotonic() > end or (again and again[0] in SIGNALS):
                _write("genlab: stopped: while waiting for the other processes of the run; start it again to resume\n")
                os._exit(128 + signum)

    def close(self) -> None:
        signal.set_wakeup_fd(self._before)
        self._bell.close()
        self._thread.join()
        self._wakes.close()


class StopRequest:
    """While entered, `signum` is the first SIGINT or SIGTERM received, else 0; the loop polls it.

    Until `arm` there is nothing to save: a signal raises Interrupted at once, and again in `arm` if a library (an
    import, a finalizer) swallowed it. `peers`: this process waits for others of its run, in calls that block Python's
    handlers; a signal then ends it after BLOCKED or BLOCKED_TRAINING seconds, a second one at once.
    """

    def __init__(self, peers: bool = False) -> None:
        self.signum = 0
        self._peers = peers
        self._armed = False
        self._before: dict[int, Any] = {}
        self._watchdog: _Watchdog | None = None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._watchdog:
            self._watchdog.handled = True
        if self.signum:  # the second
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        if not self._armed:
            interrupt(signum)
        self.signum = signum
        if is_main():
            _write("\ngenlab: stopping after this step; a second signal stops at once\n")

    def arm(self) -> None:
        """From now on a signal asks for a clean stop."""
        swallowed = as_interrupt(None)
        if swallowed:
            raise swallowed
        self._armed = True

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python delivers signals to no other
            self._before = {each: signal.signal(each, self._handle) for each in SIGNALS}
            if self._peers:
                self._watchdog = _Watchdog(lambda: BLOCKED_TRAINING if self._armed else BLOCKED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watchdog:
            self._watchdog.close()
        for each, handler in self._before.items():
            signal.signal(each, handler)
        found = as_interrupt(error)
        forget_interrupt()
        if error and found and found is not error:
            raise found from error

"""Waits until a child process ends or a signal comes."""

from __future__ import annotations

import select
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from genlab.errors import Stopped
from genlab.utils.signals import noted

POLL = 0.1  # seconds between checks, in case a wake-up is missed


class Watch:
    """Records Ctrl-C and SIGTERM, which only `check` raises, so none interrupts a write of the ledger.

    A child that ends wakes `wait` at once: the kernel's SIGCHLD arrives as a byte on a socket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._wakes, self._bell = socket.socketpair()
        for end in (self._wakes, self._bell):
            end.setblocking(False)
            self._undo.callback(end.close)
        self._seen = self._undo.enter_context(noted())
        self._undo.callback(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, lambda *_: None))
        before = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        self._undo.callback(signal.set_wakeup_fd, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def wait(self) -> None:
        """Return once a child has ended or a signal has come, after at most POLL seconds."""
        if select.select([self._wakes], [], [], POLL)[0]:
            self._wakes.recv(4096)

    def check(self) -> None:
        """Stopped (130, 143) once a signal has come."""
        if self._seen:
            raise Stopped(self._seen[0], "the sweep was stopped", f"sweep {self._folder}",
                          f"resume with the same command and hydra.sweep.dir={self._folder}")  # fmt: skip

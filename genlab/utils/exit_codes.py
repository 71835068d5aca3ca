"""How a command ends: an exception becomes one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from typing import Any

from genlab.errors import (
    LAUNCHED,
    PEER_GONE,
    GenlabError,
    PeerError,
    RankError,
    ResourceError,
    Stopped,
    bug,
    path_error,
    resource_error,
)
from genlab.utils.signals import SIGNALS, Interrupted, as_interrupt, forget_interrupt, interrupt
from genlab.utils.terminal import STDOUT, echo, is_main, say, unwritable

RESERVE = 8 * 2**20  # bytes of address space; untouched, they take no memory


class ExitCode:
    """How a command ends: an exception becomes its documented code, and one line on stderr.

    `debug` prints the traceback too. Until a run takes over, SIGTERM and Ctrl-C stop it at once; when it has ended,
    they are ignored until that is reported.
    """

    def __init__(self, debug: bool = False) -> None:
        self.debug, self.code = debug, 0
        self._reserve: bytearray | None = bytearray(RESERVE)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> ExitCode:
        forget_interrupt()
        with contextlib.suppress(ValueError):  # only the main thread may; a run replaces this by its own while it lasts
            for each in SIGNALS:
                self._before[each] = signal.signal(each, lambda signum, frame: interrupt(signum))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        for each in 2 * tuple(self._before):  # twice: a signal that has just come is raised in place of the first
            with contextlib.suppress(Interrupted):
                signal.signal(each, signal.SIG_IGN)
        self.end(error)
        for each, handler in self._before.items():
            signal.signal(each, handler)
        return True

    def end(self, error: BaseException | None) -> None:
        """Report how the command ended; sets `code`."""
        self._reserve = None  # free what reporting an exhausted memory needs
        if error is None:
            try:
                sys.stdout.flush()
            except OSError as failed:  # the output of a library, which was buffered
                error = unwritable(failed)
        if isinstance(error, BrokenPipeError):  # `genlab list | head`: the reader has closed the pipe
            self.code = 128 + 13
        elif error is not None:
            if self.debug:
                echo(*"".join(traceback.format_exception(error)).splitlines(), err=True)
            self.code = _report(as_interrupt(error) or error, self.debug)


def _report(error: BaseException, debug: bool) -> int:
    """One line for any exception; the code it stands for."""
    if isinstance(error, SystemExit):  # argparse's --help
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        signum = error.signum if isinstance(error, Interrupted) else signal.SIGINT
        error = Stopped(signum, "by a signal", "start it again", "resume a run with: genlab resume RUN")
    known = error if isinstance(error, GenlabError) else resource_error(error) or path_error(error)
    if isinstance(error, OSError) and error.filename == STDOUT:
        known = ResourceError(f"{STDOUT} cannot be written", str(error.strerror), "redirect it elsewhere")
    if known is None:
        known = bug(error, "see above" if debug else f"the traceback is in {_save_traceback(error)}")
    word = "stopped" if isinstance(known, Stopped) else "error"
    if LAUNCHED in os.environ and isinstance(known, PeerError):
        return PEER_GONE
    # every rank would print the same; the launcher reads all its ranks and shows one
    if is_main() or LAUNCHED in os.environ or isinstance(known, RankError) or known.code in (1, 5, 7):
        say(f"{word}: {' '.join(str(known).split())}")
    return known.code


def _save_traceback(error: BaseException) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="genlab-", suffix=".log", delete=False) as file:
            traceback.print_exception(error, file=file)
        return file.name
    except OSError:
        return "no file (use --debug)"

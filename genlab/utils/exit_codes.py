"""How a command ends: whatever it raises becomes one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable

from genlab.errors import LAUNCHED, PEER_GONE, GenlabError, PeerError, Stopped, resource_error
from genlab.utils.signals import SIGNALS, Interrupted, interrupt


def guarded(action: Callable[[], int], debug: bool = False) -> int:
    """The exit code of `action`, which returns its own; for an exception its documented code, and its line printed.

    `debug` prints the traceback too. Until a run takes over, SIGTERM and Ctrl-C stop it at once.
    """
    with contextlib.suppress(ValueError):  # only the main thread may; a run replaces this by its own while it lasts
        for each in SIGNALS:
            signal.signal(each, lambda signum, frame: interrupt(signum))
    try:
        code = action()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `genlab list | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except BaseException as error:
        if debug:
            traceback.print_exc()
        return _report(error, debug)


def _report(error: BaseException, debug: bool) -> int:
    """One line for any exception; the code it stands for."""
    if isinstance(error, SystemExit):  # argparse's --help
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        signum = error.signum if isinstance(error, Interrupted) else signal.SIGINT
        error = Stopped(signum, "by a signal", "start it again", "a run goes on with: genlab resume RUN")
    known = error if isinstance(error, GenlabError) else resource_error(error)
    if known is None:
        kept = "see above" if debug else f"traceback saved in {_save_traceback(error)}"
        text = " ".join(str(error).split())[:200]
        known = GenlabError(f"this is a bug in genlab ({type(error).__name__}: {text})", kept, "please report it")
    word = "stopped" if isinstance(known, Stopped) else "error"
    if LAUNCHED in os.environ and isinstance(known, PeerError):
        return PEER_GONE
    # every rank would say the same; of those that genlab has started it hears all and shows one
    if os.environ.get("RANK", "0") == "0" or LAUNCHED in os.environ or known.code in (1, 5, 7):
        line = " ".join(str(known).split())
        safe = "".join(letter if letter.isprintable() else "?" for letter in line)
        print(f"genlab: {word}: {safe}", file=sys.stderr)
    return known.code


def _save_traceback(error: BaseException) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="genlab-", suffix=".log", delete=False) as file:
            traceback.print_exception(error, file=file)
        return file.name
    except OSError:
        return "no file (use --debug)"

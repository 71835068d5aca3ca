"""Starting child processes: how many the machine bears, genlab's words, that none outlives its parent unasked."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from functools import partial

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def genlab_command(*words: str) -> list[str]:
    """The command line that runs `genlab WORDS` with this interpreter."""
    # -m puts the working folder first on the path: only where it was on ours
    safe = [] if {"", os.getcwd()} & set(sys.path) else ["-P"]
    return [sys.executable, *safe, "-m", "genlab", *words]


def die_with_parent(parent: int) -> None:
    """In the child: receive a signal to save and stop if the parent dies (on Linux; elsewhere the job runs on)."""
    if _LIBC is not None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler would only note it
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed just before
            os._exit(128 + signal.SIGTERM)


def run_genlab(*words: str) -> int:
    """Run `genlab WORDS` with this process's output; its exit code. If this process is stopped, so is that one."""
    child = subprocess.Popen(
        genlab_command(*words),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C in the terminal reaches it through us, once
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    try:
        return child.wait()
    except BaseException:
        child.send_signal(signal.SIGINT)  # it saves its state
        child.wait()
        raise

"""The jobs of a sweep as processes, each in its own session and with its own log; the failure of one ends no other.

A job is forked from the sweep, which has imported all that a run needs (`genlab.sweep.fork_server`): it starts in
milliseconds. Where a fork is not safe it is a fresh interpreter, which takes seconds and behaves the same.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

from genlab.sweep.plan import Job
from genlab.sweep.watch import POLL
from genlab.utils.exit_codes import ExitCode
from genlab.utils.own_folder import OwnFolder
from genlab.utils.signals import SIGNALS
from genlab.utils.subprocesses import die_with_parent, genlab_command


class Child(Protocol):
    """A job's process."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative for the signal that ended it; None while it runs."""


Start = Callable[[Job, Sequence[str], Path], Child]  # a job, its command line and its log


def stop(child: Child) -> None:
    """Ask it to save and stop, as Ctrl-C would."""
    if child.poll() is None:
        os.kill(child.pid, signal.SIGINT)


def wait(child: Child, seconds: float) -> None:
    """Wait for a job to end; kill it after the timeout."""
    deadline = time.monotonic() + seconds
    while child.poll() is None:
        if time.monotonic() > deadline:
            os.kill(child.pid, signal.SIGKILL)
        time.sleep(POLL)


def exit_code(child: Child) -> int:
    """The exit code of a child that has ended."""
    code = child.poll()
    assert code is not None
    return code


# ---------------------------------------------------------------------- a fresh interpreter


def spawn(job: Job, words: Sequence[str], log: Path) -> Child:
    """Start the job in a new interpreter."""
    with OwnFolder(log.parent).append(log.name) as out:
        return subprocess.Popen(
            interpreter(job, words),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # a Ctrl-C in the terminal reaches it through us, once
            preexec_fn=partial(die_with_parent, os.getpid()),
        )


def interpreter(job: Job, words: Sequence[str]) -> list[str]:
    """The command line of such a process."""
    return genlab_command(*words)


# ---------------------------------------------------------------------- a fork


class Forked:
    """A child that `fork` has made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


def fork(job: Job, words: Sequence[str], log: Path) -> Child:
    """The job in a copy of this process. It is known to be ready for signals when this returns."""
    with OwnFolder(log.parent).append(log.name) as file:
        out = os.dup(file.fileno())
    parent, (ready, started) = os.getpid(), os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the child is not to take one with our handlers
    try:
        try:
            pid = os.fork()
            if pid == 0:
                _child(job, words, out, started, parent)
        finally:
            os.close(started)
        os.read(ready, 1)  # nothing, once the child has closed its end or died
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(ready)
        os.close(out)
    return Forked(pid)


def _child(job: Job, words: Sequence[str], out: int, started: int, parent: int) -> None:
    """Never returns: whatever happens, none of the sweep's own code runs on in the copy."""
    code = 1
    try:
        _settle(out, parent)
        os.close(started)
        code = _status(partial(work, job, words))
        # as an interpreter ends: threads are waited for, then atexit, then the buffers
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        code = code or 1
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _settle(out: int, parent: int) -> None:
    """Make the copy what a fresh process would be: session, signals, files, random numbers."""
    os.setsid()  # a Ctrl-C in the terminal reaches it through the sweep, once
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # drops what came before setsid: the sweep has it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(parent)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((out, 1), (out, 2), (null, 0)):
        os.dup2(source, target)
    for descriptor in {null, out} - {0, 1, 2}:  # those, if the sweep was started without them
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # all three as long as the process lives
    sys.stdout, sys.stderr = _output(1), _output(2)  # ours may be a notebook's or a test's
    _forget_exits()
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # torch's generator is in its initial state, as in a new process


def _output(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)


def _forget_exits() -> None:
    """A job must not run the exit handlers registered by the sweep's imports, only its own."""
    atexit._clear()
    finalizers = weakref.finalize._registry  # type: ignore[attr-defined]
    for inherited in list(finalizers):
        inherited.atexit = False
    for each in (weakref.finalize._exitfunc, multiprocessing.util._exit_function, logging.shutdown):  # type: ignore[attr-defined]
        atexit.register(each)


def _status(action: Callable[[], int]) -> int:
    """The exit code of a main function, by Python's rules for exceptions. Signals are unblocked first."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return action()
    except KeyboardInterrupt:  # before the job could take it for a request to stop
        return 128 + signal.SIGINT
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)


def work(job: Job, words: Sequence[str]) -> int:
    """Run `genlab train` in a forked job, with a configuration that is already composed and checked."""
    from genlab.distributed import launcher
    from genlab.workflows.train import run

    sys.argv[1:] = words
    with ExitCode() as exit:
        count = launcher.wanted(job.composed.config)
        if count > 1:
            exit.code = launcher.launch(count, words)
        else:
            run(job.composed)
    return exit.code

"""Commands of genlab in processes that may be killed: forked from this one, or started as a shell would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

PATIENCE = 600.0  # seconds after which a process counts as hanging


class Ended(NamedTuple):
    """How a command ended: its exit code, or minus the signal; None if it hung. Output and errors as text."""

    code: int | None
    out: str
    err: str


def fork(arguments: Sequence[str], before: Callable[[], object] | None = None, output: Path | None = None) -> int:
    """Start a command in a child of this process, `before` called in it first; returns its process id.

    Its streams go to the files `stdout` and `stderr` in the folder `output`, or nowhere.
    """
    from genlab.cli.main import main  # here, not in a child that may not open files

    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    with contextlib.suppress(BaseException):
        _redirect(output)
        if before:
            before()
        code = main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def command(arguments: Sequence[str], output: Path | None = None) -> int:
    """Start a command as the shell would; the rest is as with `fork`."""
    with contextlib.ExitStack() as opened:
        out, err = (opened.enter_context(open(name, "wb")) for name in _names(output))
        done = subprocess.Popen([sys.executable, "-m", "genlab", *arguments], stdout=out, stderr=err)
    done.returncode = 0  # `wait` collects it, not Popen's finalizer
    return done.pid


def wait(pid: int, seconds: float = PATIENCE) -> int | None:
    """The child's exit code, or minus the signal that ended it; None if it is still running after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def finish(pid: int) -> int | None:
    """Wait for a child to end: as `wait`, but one that hangs is killed."""
    code = wait(pid)
    if code is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return code


def streams(output: Path) -> tuple[str, str]:
    """What a command has written to its streams in the folder `output`."""
    out, err = (Path(name).read_text(errors="replace") for name in _names(output))
    return out, err


def ended(pid: int, output: Path) -> Ended:
    """Wait for a command whose streams are in the folder `output`."""
    return Ended(finish(pid), *streams(output))


def _names(output: Path | None) -> list[Path]:
    return [output / name if output else Path(os.devnull) for name in ("stdout", "stderr")]


def _redirect(output: Path | None) -> None:
    for target, name in zip((1, 2), _names(output), strict=True):
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(fd, target)
        os.close(fd)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  # not pytest's

"""How a command ended in a forked child with limits, and what every ending must be like."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import processes

SPACE = 3 * 2**30  # bytes of address space that a command may add to those of this process
# bytes of memory that a command may use: a third are the imported libraries, the rest the decoder of the largest image
# that is read, 50 million pixels
MEMORY = 5 * 2**28
PROCESSOR = 200  # seconds of processor time: more is endless
PATIENCE = 1200  # seconds: a command that sleeps for so long waits for what never comes
LONGEST = 1500  # characters of a message


@dataclass(frozen=True)
class Ending:
    """The exit code of a command (minus a signal's number), its output, and its peak of memory in bytes."""

    code: int
    out: str
    err: str
    memory: int

    def wrong(self, allowed: Collection[int], memory: int = MEMORY) -> str | None:
        """What is wrong with this ending, or None: the code must be allowed and have, unless it is 0, one line."""
        lines = self.err.splitlines()
        errors = [line for line in lines if line.startswith(("genlab: error: ", "genlab: stopped: "))]
        last = f"code {self.code}: {' | '.join(lines[-3:])}"
        if self.code not in allowed or "Traceback" in self.err + self.out:
            return last
        if len(errors) != bool(self.code):
            return f"{len(errors)} lines of error, {last}"
        if any(len(line) > LONGEST for line in errors):
            return f"a message of {max(map(len, errors))} characters, {last}"
        if not all(letter.isprintable() or letter in "\t\n" for letter in self.err):
            return f"control characters, {last!r}"
        if self.memory > memory:
            return f"{self.memory >> 20} MB of memory, {last}"
        return None


def ending(words: Sequence[str], folder: Path, before: Callable[[], object] | None = None) -> Ending:
    """`genlab WORDS` with the working folder `folder`; `before` is called in the child, first."""

    def settle() -> None:
        os.chdir(folder)
        _limit()
        if before:
            before()

    streams = folder / ".streams"
    streams.mkdir(exist_ok=True)
    code, memory = _wait(processes.fork(words, settle, streams))
    out, err = ((streams / name).read_text(errors="replace") for name in ("stdout", "stderr"))
    return Ending(code, out, err, memory)


def unprivileged() -> None:
    """Give up root's capabilities, so that file modes stop this process too. Its user stays: Python is found by it."""
    if os.geteuid() == 0:
        header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)  # linux/capability.h: version 3, two words a set
        if ctypes.CDLL(None, use_errno=True).capset(header, none):
            raise OSError(ctypes.get_errno(), "capset")


def _limit() -> None:
    os.environ |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # nothing is downloaded
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + SPACE, used + SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(pid: int) -> tuple[int, int]:
    """The child's exit code and peak of memory in bytes; a child that never ends is killed."""
    end = time.monotonic() + PATIENCE
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)

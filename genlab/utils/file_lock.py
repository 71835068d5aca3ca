"""A lock between processes, held by a file."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from genlab.utils.terminal import say

_threads = threading.RLock()  # POSIX locks belong to the process: threads need their own


@contextlib.contextmanager
def lock(path: Path, what: str, poll: float = 0.2) -> Iterator[None]:
    """Hold the lock file at `path`; while another process holds it, print one line and wait.

    The system frees the lock however its holder ends, and child processes do not inherit it (lockf, not flock).
    Waiting polls, so that signals are handled.
    """
    import fcntl

    with _threads, path.open("a") as file:
        reported = False
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if not reported:
                    say(f"another process is preparing {what}; waiting for it")
                reported = True
                time.sleep(poll)
        yield

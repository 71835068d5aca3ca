"""One process at a time in a run folder: a POSIX record lock on a file that stays open.

`lockf` is freed by the kernel the moment its process dies, and unlike `flock` it is not inherited by worker processes
that outlive their parent. Its trap: closing *any* descriptor of the file frees the lock, so a process that holds one
never opens the file again.
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import json
import os
import stat
import time
from pathlib import Path

from genlab.errors import BusyError, CheckpointError, ConfigError
from genlab.runs.provenance import process_info
from genlab.utils.files import parse_json

# a look from `genlab runs` holds a shared lock for some microseconds: only a longer one is a real holder
ATTEMPTS, PAUSE = 5, 0.04  # seconds

_held: dict[tuple[int, int], int] = {}  # device and inode of our own locks -> pid (a forked child holds none)


class Lock:
    """Held from construction until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Take the lock at `path`, or raise BusyError naming the holder. OSError if the file cannot be made."""
        if _is_ours(path):
            raise _busy(path, process_info())
        self.fd = _open(path)
        try:
            if not _try_lock(self.fd, fcntl.LOCK_EX):
                raise _busy(path, _holder(self.fd))
            note = {**process_info(), "started": _now().isoformat(timespec="seconds")}
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, json.dumps(note).encode() + b"\n", 0)
        except BaseException:
            os.close(self.fd)
            raise
        status = os.fstat(self.fd)
        self._key = (status.st_dev, status.st_ino)
        _held[self._key] = os.getpid()

    def release(self) -> None:
        """Release the lock; a second call does nothing. In a forked child the parent keeps it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            _held.pop(self._key, None)


def _open(path: Path) -> int:
    """CheckpointError for a link, hard or symbolic, or a pipe: the file will be overwritten."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            raise _not_ours(path) from None
        raise
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(fd)
        raise _not_ours(path)
    return fd


def _not_ours(path: Path) -> CheckpointError:
    return CheckpointError(f"'{path.name}' is a link or of the wrong type", str(path.parent), "remove it")


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock at `path`; False if there is no such file."""
    if _is_ours(path):
        return True
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(fd, fcntl.LOCK_SH, attempts=1)
    finally:
        os.close(fd)


def _is_ours(path: Path) -> bool:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return _held.get((status.st_dev, status.st_ino)) == os.getpid()


def _try_lock(fd: int, kind: int, attempts: int = ATTEMPTS) -> bool:
    for attempt in range(attempts):
        try:
            fcntl.lockf(fd, kind | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise ConfigError(
                    f"this file system cannot lock files ({error.strerror})",
                    "hydra.run.dir",
                    "choose a run folder on a local disk",
                ) from error
        if attempt + 1 < attempts:
            time.sleep(PAUSE)
    return False


def _holder(fd: int) -> dict[str, object]:
    try:
        note = parse_json(os.pread(fd, 4096, 0))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _busy(path: Path, holder: dict[str, object]) -> BusyError:
    who = f"process {holder.get('pid', 'unknown')} on {holder.get('host', 'an unknown host')}"
    started = str(holder.get("started", ""))
    since = f" since {started} ({_age(started)})" if started else ""
    return BusyError(
        f"the run folder is in use by {who}{since}",
        str(path.parent),
        "wait until it ends, stop it, or choose another hydra.run.dir",
    )


def _age(started: str) -> str:
    try:
        begin = datetime.datetime.fromisoformat(started)
        seconds = (_now() - begin).total_seconds()
    except (ValueError, TypeError):
        return "for an unknown time"
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} seconds ago"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

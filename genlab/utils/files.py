"""Writing files so that they survive a crash, and reading files that may be hostile.

Needs the standard library only. Files are flushed when written; they are read with a size limit and without following
links. OwnFolder replaces files at once and whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from genlab.errors import ResourceError

NESTING = 64  # levels of JSON
JSON_LIMIT = 4 * 2**20  # bytes: 30,000 tensors; the worst JSON of this size takes about 100 MB once parsed
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Entry(NamedTuple):
    """A file's entry in a manifest: its size in bytes and the SHA-256 of its content, in hex."""

    size: int
    sha256: str


def dump_json(value: Any, indent: int | None = 1) -> bytes:
    """ASCII JSON. ValueError for NaN and infinities, TypeError for types that JSON lacks."""
    return json.dumps(value, indent=indent, allow_nan=False).encode()


def parse_json(data: bytes) -> Any:
    """The value in UTF-8 `data`. ValueError for anything but strict JSON: duplicate keys, NaN, too deep nesting."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _is_deep(value):
        raise ValueError("nested too deeply")
    return value


def _is_deep(value: Any) -> bool:
    """Whether a value has more levels than functions that call themselves should meet."""
    level = [value]
    for _ in range(NESTING):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        if not inner:
            return False
        level = [item for items in inner for item in items]
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has a duplicate key")
    return result


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def open_regular(path: str | Path, dir_fd: int | None = None, follow: bool = False) -> int:
    """A descriptor to read `path`. ValueError unless it is a regular file; OSError if it is a link, unless `follow`."""
    # non-blocking: opening a pipe must not hang
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    fd = os.open(path, flags, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError(f"{path} is not a regular file")
    return fd


def read_bounded(path: str | Path, limit: int, dir_fd: int | None = None) -> bytes:
    """The content of a regular file. ValueError if it is longer than `limit` bytes or not a regular file."""
    with open(open_regular(path, dir_fd), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} is longer than {size_text(limit)}")
    return data


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hex; OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, chunks: Iterable[bytes | memoryview]) -> Entry:
    """Write `chunks` in order and flush them to the disk; OSError if that fails."""
    digest, size = hashlib.sha256(), 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            write_all(fd, chunk)
        os.fsync(fd)
    finally:
        os.close(fd)
    return Entry(size, digest.hexdigest())


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write `data` to a descriptor: one system call writes at most 2 GiB, and less on a disk that is nearly full."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def fsync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_entries(fd)
    finally:
        os.close(fd)


def flush_entries(folder: int) -> None:
    """As `fsync_folder`, of an open folder."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that holds `folder`, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(folder: Path, needed_bytes: int) -> None:
    """ResourceError unless the disk of `folder` has `needed_bytes` free."""
    free = free_bytes(folder)
    if free < needed_bytes:
        raise ResourceError(
            f"not enough disk space: {size_text(needed_bytes)} needed, {size_text(free)} free",
            str(folder),
            "free some space or choose another disk",
        )


def disk_full(error: OSError, path: Path, needed_bytes: int) -> ResourceError:
    """The error to raise when writing `needed_bytes` to `path` failed with `error`."""
    remedy = "allow larger files (ulimit -f unlimited)" if error.errno == errno.EFBIG else "free some space"
    return ResourceError(
        f"{path.name} could not be written ({error.strerror}): {size_text(needed_bytes)} needed, "
        f"{size_text(free_bytes(path.parent))} free",
        str(path.parent),
        f"earlier checkpoints are intact; {remedy} and resume",
    )


def size_text(count: int) -> str:
    """Bytes for people: 734 B, 1.5 MB (powers of 1000, as disks are sold)."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"

"""A folder that a stranger may have prepared: writing and deleting inside it never reaches anything outside.

Each part of a name is opened relative to the folder before it, links refused, and a file is written under a temporary
name and renamed, so that a link in its place is replaced and not followed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from genlab.errors import CheckpointError, ResourceError
from genlab.utils.files import flush_entries, open_regular, write_all

TEMPORARY = re.compile(r"\.tmp-.+\.\d+")  # .tmp-NAME.PID


class OwnFolder:
    """The folder `path` of a run, or another to write in. Names are relative, such as "images/a.png".

    Every method raises CheckpointError where a link or file stands in place of a folder inside, ResourceError if the
    folder has been removed or moved since construction, and OSError for what the system refuses.
    """

    def __init__(self, path: Path) -> None:
        """OSError if `path` is not there. It may be a link itself: its user chose it."""
        self.path = path
        self._identity = _identity(os.stat(path))

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[BinaryIO]:
        """A new file for the block to write, which then replaces `name`, flushed to the disk; gone if the block raises.

        After a crash the old content is there, or the new.
        """
        with self._parent(name) as (folder, last):
            temporary = f".tmp-{last}.{os.getpid()}"
            _unlink(temporary, folder)  # left by an earlier process of the same id, or a link
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
            try:
                with open(fd, "wb") as file:
                    with contextlib.suppress(OSError):  # some network file systems cannot
                        fcntl.flock(fd, fcntl.LOCK_EX)  # while it is held, `sweep` leaves the file alone
                    yield file
                    file.flush()
                    os.fsync(fd)
                    os.replace(temporary, last, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with contextlib.suppress(OSError):
                    _unlink(temporary, folder)
            flush_entries(folder)

    def write(self, name: str, data: bytes) -> None:
        """Replace `name` by `data`, as `replacing` does."""
        with self.replacing(name) as file:
            write_all(file.fileno(), data)

    def append(self, name: str) -> BinaryIO:
        """A file opened to append, without a buffer; made if missing.

        CheckpointError if it is a link, symbolic or hard (the file has another name too), or not a file.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._parent(name) as (folder, last):
            try:
                fd = os.open(last, flags, 0o644, dir_fd=folder)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                    raise
                raise self._refusal(name) from None
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                os.close(fd)
                raise self._refusal(name)
            return open(fd, "ab", buffering=0)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO | None]:
        """A regular file, open to read; None if there is none. CheckpointError if it is a link or not a file."""
        try:
            with self._parent(name, make=False) as (folder, last):
                file = open(open_regular(last, folder), "rb")  # noqa: SIM115
        except FileNotFoundError:
            yield None
            return
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno != errno.ELOOP:
                raise
            raise self._refusal(name) from None
        with file:
            yield file

    def read(self, name: str, limit: int | None = None) -> bytes | None:
        """The content of a regular file, None if there is none.

        CheckpointError if it is a link, not a file, or longer than `limit` bytes.
        """
        with self.reading(name) as file:
            data = None if file is None else file.read(-1 if limit is None else limit + 1)
        if limit is not None and len(data or b"") > limit:
            raise self._refusal(name)
        return data

    def names(self, name: str) -> list[str]:
        """What the folder `name` inside holds, in order; nothing if it is not there."""
        try:
            with self._parent(f"{name}/.", make=False) as (folder, _):
                return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []

    def make(self, name: str) -> Path:
        """The folder `name` inside, made if missing."""
        with self._parent(f"{name}/."):
            return self.path / name

    def delete(self, name: str) -> None:
        """Delete a file, or a link itself."""
        with self._parent(name, make=False) as (folder, last):
            _unlink(last, folder)

    def check(self, name: str, fd: int) -> None:
        """ResourceError unless the file that is open as `fd` is still there under `name`."""
        with self._parent(name, make=False) as (folder, last):
            try:
                if os.path.samestat(os.stat(last, dir_fd=folder, follow_symlinks=False), os.fstat(fd)):
                    return
            except FileNotFoundError:
                pass
        raise ResourceError(f"'{name}' was removed or replaced by another program", str(self.path), "try again")

    def sweep(self) -> None:
        """Delete the temporary files of killed processes, here and in folders one and two levels down."""
        with self._parent(".") as (top, _):
            for path, folders, names, folder in os.fwalk(".", dir_fd=top):
                if path.count("/") == 2:
                    folders.clear()  # not walked: a hostile folder may be nested without end
                for name in filter(TEMPORARY.fullmatch, names):
                    with contextlib.suppress(OSError, ValueError):
                        _sweep(name, folder)

    @contextlib.contextmanager
    def _parent(self, name: str, make: bool = True) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that holds `name`, created if missing and `make`, and the last part of `name`."""
        *parts, last = name.split("/")
        assert not {"", ".", ".."} & set(parts), name
        with contextlib.ExitStack() as opened:
            try:
                folder = _open_folder(self.path, opened)
            except (FileNotFoundError, NotADirectoryError):
                folder = None
            if folder is None or _identity(os.fstat(folder)) != self._identity:
                raise ResourceError("the folder was removed or moved", str(self.path), "put it back and try again")
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                try:
                    folder = _open_folder(part, opened, folder)
                except NotADirectoryError:
                    raise self._refusal(part) from None
            yield folder, last

    def _refusal(self, name: str) -> CheckpointError:
        return CheckpointError(f"'{name}' is a link or of the wrong type", str(self.path), "remove it")


def _open_folder(name: str | Path, opened: contextlib.ExitStack, within: int | None = None) -> int:
    """A descriptor of a folder, until `opened` is left. NotADirectoryError for a link or file inside another folder."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if within is None else os.O_NOFOLLOW)
    try:
        folder = os.open(name, flags, dir_fd=within)
    except OSError as error:
        if error.errno == errno.ELOOP:  # what some systems say of a link, others say ENOTDIR
            raise NotADirectoryError(errno.ENOTDIR, error.strerror, name) from None
        raise
    opened.callback(os.close, folder)
    return folder


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _unlink(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _sweep(name: str, folder: int) -> None:
    """Delete a temporary file unless a living process is writing it."""
    fd = open_regular(name, folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(fd)

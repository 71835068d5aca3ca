"""Making a run folder by the one operation that cannot give the same folder to two processes: mkdir."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from genlab.errors import ConfigError, ResourceError
from genlab.utils.paths import user_path

NAME_LIMIT = 200  # bytes of one component: leaves room for suffixes within the usual 255
COLLISIONS = 10_000
CHOOSE = "choose another with hydra.run.dir=..."


def check_path(path: str | Path) -> Path:
    """`path` without `.` and `..`; ConfigError for a name that is unusable or dangerous in a shell.

    A relative path must stay within the working folder; an absolute one may be anywhere.
    """
    text = os.path.normpath(path)
    if not str(path) or not str(path).isprintable():
        raise ConfigError(f"bad run folder {str(path)[:80]!r}", "it is empty or has unprintable characters", CHOOSE)
    for part in Path(text).parts:
        if len(os.fsencode(part)) > NAME_LIMIT:
            raise ConfigError(f"bad run folder '{part[:40]}...'", f"a name of more than {NAME_LIMIT} bytes", CHOOSE)
        if part.startswith("-"):
            raise ConfigError(f"bad run folder '{text}'", "a name that starts with '-' reads like an option", CHOOSE)
    if not os.path.isabs(text) and Path(text).parts[:1] == ("..",):
        raise ConfigError(
            f"bad run folder '{path}'", "it lies outside the working folder", f"{CHOOSE}, or an absolute one"
        )
    return user_path(text, "the run folder")


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """An OSError inside becomes a ConfigError, or a ResourceError if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
            raise ResourceError(
                f"the run folder cannot be written ({error.strerror})",
                str(path),
                "free some space, or close other programs",
            ) from error
        raise ConfigError(
            f"the run folder cannot be written ({error.strerror})",
            str(path),
            "choose a writable one with hydra.run.dir=...",
        ) from error


def make_exact(path: Path, made: list[Path]) -> Path:
    """Create the folder `path` unless it exists; created folders are appended to `made`."""
    _make_parents(path, made)
    _mkdir(path, made)
    if not path.is_dir():
        raise ConfigError(f"'{path}' is not a folder", "a file has that name", CHOOSE)
    return path


def make_new(path: Path, made: list[Path]) -> Path:
    """Make `path`, or `path` with the first unused suffix -1, -2, ..."""
    for number in range(COLLISIONS):
        candidate = path.with_name(f"{path.name}-{number}") if number else path
        try:
            _make_parents(candidate, made)
            if _mkdir(candidate, made):
                return candidate
        except FileNotFoundError:  # another process, refused, has just removed the parent that it had made
            continue
    raise ConfigError(f"no free name for a run folder after {COLLISIONS} attempts", str(path), CHOOSE)


def unmake(made: list[Path], lock: Path) -> None:
    """Remove the folders in `made`, last first, if they are empty except for `lock`."""
    if lock.parent in made:
        with contextlib.suppress(OSError):
            os.unlink(lock)
    for folder in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _make_parents(path: Path, made: list[Path]) -> None:
    missing = []
    for folder in path.parents:
        if folder.exists():
            break
        missing.append(folder)
    for folder in reversed(missing):
        _mkdir(folder, made)


def _mkdir(path: Path, made: list[Path]) -> bool:
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    made.append(path)
    return True

"""The files and folders that a user names, and where data and caches lie."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from genlab.errors import ConfigError, DataError

NAME_LIMIT = 255  # bytes of one component, on every usual file system


def user_path(name: str | Path, where: str) -> Path:
    """`name` with `~` expanded; nothing needs to exist there. `where` is the key, flag or variable that names it.

    ConfigError if nobody could look there: the name is empty or too long, the folder or one above it may not be read,
    there is no such user as in `~user`, links form a loop, or the working folder was deleted.
    """
    path = Path(name)
    if not str(name).strip():
        raise _unusable(name, "it is empty", where)
    try:
        path = path.expanduser()
        path.absolute()
    except (RuntimeError, OSError) as error:
        reason = "no such home folder" if isinstance(error, RuntimeError) else "the working folder was deleted"
        raise _unusable(name, reason, where) from None
    if any(len(os.fsencode(part)) > NAME_LIMIT for part in path.parts):  # also below a folder that does not exist
        raise _unusable(name, "File name too long", where)
    try:
        folder = stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError) as error:
        raise _unusable(name, getattr(error, "strerror", None) or str(error), where) from None
    if folder and not os.access(path, os.R_OK | os.X_OK):
        raise _unusable(name, "Permission denied", where)
    return path


def user_file(
    name: str | Path, where: str, suffixes: tuple[str, ...] = (), hint: str = "give an existing file"
) -> Path:
    """A regular file that may be read, as an absolute path; `where` and `~` as in `user_path`.

    ConfigError for another suffix than those of `suffixes`, DataError if the file is missing, a pipe or a device, or
    may not be read. `hint` says where a missing file comes from.
    """
    path = user_path(name, where).absolute()
    if suffixes and path.suffix.lower() not in suffixes:
        raise ConfigError(f"{path.name} is another kind of file", where, f"give {' or '.join(suffixes)}")
    if not path.exists():
        raise DataError(f"{path} is missing", where, hint)
    if not path.is_file():
        raise DataError(f"{path} is not a regular file", where, "give a file")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path} cannot be read (Permission denied)", where, "allow access to it")
    return path


def cache_folder() -> Path:
    """`GENLAB_CACHE`, else the user's cache folder for genlab. It need not exist yet."""
    named = os.environ.get("GENLAB_CACHE")
    if named:
        return user_path(named, "environment variable GENLAB_CACHE").absolute()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("genlab"))


def downloads() -> Path:
    """The folder for data sets that genlab downloads."""
    return cache_folder() / "data"


def data_roots(root: str | None) -> list[Path]:
    """The folders to search, in order; only `root` (`dataset.root`) if it is set. ConfigError if one is a file."""
    if root is not None:
        return [_user_folder(root, "key dataset.root")]
    named = os.environ.get("GENLAB_DATA")
    return [*([_user_folder(named, "environment variable GENLAB_DATA")] if named else []), downloads()]


def _user_folder(name: str, where: str) -> Path:
    """An absolute path as of `user_path`; ConfigError if a file, a pipe or a device lies there."""
    path = user_path(name, where).absolute()
    if path.exists() and not path.is_dir():
        raise ConfigError(f"'{name}' is not a folder", where, "give the folder that holds the data set")
    return path


def _unusable(name: str | Path, reason: str, where: str) -> ConfigError:
    shown = str(name) if len(str(name)) < 100 else f"{str(name)[:40]}..."
    return ConfigError(f"'{shown}' cannot be used ({reason})", where, "give another path, or allow access to it")

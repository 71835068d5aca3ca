"""Downloading a file: verified by its hash, never left incomplete."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from genlab.errors import ConfigError, DataError
from genlab.utils.file_lock import lock

TIMEOUT = 10.0  # seconds without a byte
LONGEST = 2**30  # bytes, far more than any file downloaded here


def fetch(name: str, mirrors: Sequence[str], md5: str, folder: Path) -> Path:
    """`folder/name`, downloaded from the first of `mirrors` that has it with this MD5.

    It is renamed into place once verified; a second process that needs it waits for the first. DataError, saying which
    file to put where, if no mirror has it.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / ".lock", name):
            return path if path.is_file() else _from_any(name, mirrors, md5, path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error})",
            "the cache",
            "point the environment variable GENLAB_CACHE to a writable folder",
        ) from None


def _from_any(name: str, mirrors: Sequence[str], md5: str, path: Path) -> Path:
    temporary = path.with_name(f".{name}.part")  # the lock is held: nobody else writes it
    reasons = []
    try:
        for mirror in mirrors:
            reason = _download(mirror + name, temporary, md5)
            if reason is None:
                os.replace(temporary, path)
                return path
            reasons.append(f"{mirror}: {reason}")
    finally:
        temporary.unlink(missing_ok=True)
    raise DataError(f"{name} is missing and cannot be downloaded", ", ".join(reasons), f"put it at {path}")


def _download(url: str, to: Path, md5: str) -> str | None:
    """None, or why the download failed."""
    digest, length = hashlib.md5(usedforsecurity=False), 0
    with to.open("wb") as out:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                while chunk := response.read(2**16):
                    length += len(chunk)
                    digest.update(chunk)
                    if length > LONGEST:
                        return "too long"
                    out.write(chunk)
        except Exception as error:  # DNS, refused, timed out, cut short, bad status, bad protocol, ...
            return str(getattr(error, "reason", None) or error or type(error).__name__)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != md5:
        return f"another MD5 ({length} bytes)"
    return None

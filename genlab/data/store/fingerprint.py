"""A cheap hash of source files: names, sizes, and the beginning and end of a sample of the files.

Walking a folder of 200,000 files takes seconds, so the result is cached beside the stores. It is valid while the sizes
and times of the named files, of every folder and of the sample are unchanged: files that are added, removed, renamed or
replaced are noticed, and so are many that are overwritten in place. A single image overwritten in place is not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from genlab.errors import DataError
from genlab.utils.own_folder import OwnFolder
from genlab.utils.paths import cache_folder

HEAD = 65536  # bytes hashed at each end of a sampled file
SAMPLE = 64  # files sampled in a folder


def fingerprint(paths: Sequence[Path]) -> str:
    """sha256 (hex) of the names and contents of the files and folders in `paths`, but not of their location."""
    memory = _memory(paths)
    known = _recall(memory, paths)
    if known:
        return known
    try:
        digest, watched = hashlib.sha256(), {}
        for path in paths:
            watched.update(_absorb(path, digest))
    except OSError as error:
        raise DataError(f"cannot read {error.filename}", str(error.strerror), "check the file") from None
    _remember(memory, digest.hexdigest(), watched)
    return digest.hexdigest()


def _absorb(path: Path, digest: hashlib._Hash) -> dict[str, list[int]]:
    """Hash one file or folder; returns the paths whose sizes and times show whether it has changed."""
    if path.is_file():
        digest.update(f"{path.name} {path.stat().st_size}\n".encode(errors="surrogateescape"))
        digest.update(_ends(path))
        return {str(path): _times(str(path))}
    watched, files = {str(path): _times(str(path))}, []
    for folder, size, name in _walk(path):
        if name:
            files.append((os.path.relpath(os.path.join(folder, name), path), size))
        else:
            watched[folder] = _times(folder)
    files.sort()
    for relative, size in files:
        digest.update(f"{relative} {size}\n".encode(errors="surrogateescape"))
    for relative, _ in files[:: max(1, len(files) // SAMPLE)]:
        digest.update(_ends(path / relative))
        watched[str(path / relative)] = _times(str(path / relative))
    return watched


def _walk(folder: Path | str) -> Iterator[tuple[str, int, str]]:
    """(folder, size, name) of each file below; (folder, 0, "") for each folder. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry.path, 0, ""
                yield from _walk(entry.path)
            elif entry.is_file():
                yield str(folder), entry.stat().st_size, entry.name


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(HEAD, path.stat().st_size - HEAD))
        return hashlib.sha256(head + file.read(HEAD)).digest()


def _times(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _memory(paths: Sequence[Path]) -> Path:
    key = hashlib.sha256("\0".join(map(str, paths)).encode(errors="surrogateescape")).hexdigest()
    return cache_folder() / "store" / "seen" / f"{key[:32]}.json"


def _recall(memory: Path, paths: Sequence[Path]) -> str | None:
    try:
        known = json.loads(memory.read_text())
        watched, value = known["watched"], known["fingerprint"]
        complete = len(value) == 64 and all(str(path) in watched for path in paths)
        if complete and all(_times(path) == times for path, times in watched.items()):
            return str(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # not cached, or a damaged or outdated cache
    return None


def _remember(memory: Path, value: str, watched: dict[str, list[int]]) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        OwnFolder(memory.parent).write(memory.name, json.dumps({"fingerprint": value, "watched": watched}).encode())
    except OSError:
        pass  # optional; an unwritable cache is reported when a store is built

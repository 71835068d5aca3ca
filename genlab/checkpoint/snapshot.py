"""One checkpoint on the disk: a folder of three files, checked byte for byte before anything in it counts.

`tensors.safetensors` and `state.json` hold the data, `manifest.json` the format version and the size and SHA-256 of
the other two. Reading runs no code, follows no link, and takes each file once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genlab.checkpoint.codec import decode, encode
from genlab.checkpoint.safetensors_file import read_tensors, write_tensors
from genlab.errors import CheckpointError, raise_if_exhausted
from genlab.utils.files import (
    JSON_LIMIT,
    Entry,
    dump_json,
    fsync_folder,
    open_regular,
    parse_json,
    read_bounded,
    size_text,
    write_file,
)

FORMAT = 1
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
MANIFEST_LIMIT = 4096  # bytes
REMEDY = "use another checkpoint"


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory: CPU tensors by name, and the state that was saved with them."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    path: Path
    sha256: str  # of the file of tensors


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    match = re.fullmatch(r"step-([0-9]{8,18})", name)
    return int(match[1]) if match and name == folder_name(int(match[1])) else None


def read(path: Path) -> Loaded:
    """The checkpoint in folder `path`, verified by its hashes.

    CheckpointError if anything about it is wrong, ResourceError if it does not fit in memory.
    """
    path = Path(path)
    with _opened(path) as folder:
        manifest = _manifest(folder)
        step, state, entry = _read_state(path, folder)
        _compare(STATE, entry, manifest)
        tensors, entry = read_tensors(TENSORS, folder)
        _compare(TENSORS, entry, manifest)
    return Loaded(step, tensors, state, path, entry.sha256)


def verify(path: Path) -> None:
    """CheckpointError unless `path` is a whole checkpoint, byte for byte; loads no tensors."""
    with _opened(path) as folder:
        manifest = _manifest(folder)
        _compare(STATE, _read_state(path, folder)[2], manifest)
        with open(open_regular(TENSORS, folder), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            _compare(TENSORS, Entry(file.tell(), digest), manifest)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of the folder, which must not be a link; errors inside become a CheckpointError."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)
    except OSError as error:
        raise_if_exhausted(error)
        linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
        reason = "a link or file is in place of a folder or file" if linked else str(error.strerror)
        raise CheckpointError(f"{path.name} cannot be used: {reason}", str(path), REMEDY) from error
    except ValueError as error:
        raise CheckpointError(f"{path.name} cannot be used: {error}", str(path), REMEDY) from error


def write(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    text = dump_json({"step": step, "state": encode(dict(state))}, indent=None)
    if len(text) > JSON_LIMIT:
        raise ValueError(f"{STATE} would take {size_text(len(text))}, more than {size_text(JSON_LIMIT)}")
    entries = {TENSORS: write_tensors(folder / TENSORS, tensors), STATE: write_file(folder / STATE, [text])}
    write_file(folder / MANIFEST, [_manifest_text(entries)])
    fsync_folder(folder)


def _manifest_text(entries: Mapping[str, Entry]) -> bytes:
    return dump_json({"format": FORMAT, "files": {name: entries[name]._asdict() for name in (STATE, TENSORS)}})


def _manifest(folder: int) -> dict[str, Entry]:
    names = sorted(os.listdir(folder))
    if MANIFEST not in names:
        raise ValueError(f"{MANIFEST} is missing")
    text = read_bounded(MANIFEST, MANIFEST_LIMIT, folder)
    value = parse_json(text)
    if not isinstance(value, dict) or type(value.get("format")) is not int:
        raise ValueError(f"{MANIFEST} does not say its format")
    if value["format"] != FORMAT:
        raise ValueError(f"it has format {value['format']}, this genlab reads format {FORMAT}")
    try:
        entries = {name: Entry(**entry) for name, entry in value["files"].items()}
        same = _manifest_text(entries) == text  # no other spelling counts, so any changed byte is seen
    except (KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise ValueError(f"{MANIFEST} is malformed")
    if names != sorted([*entries, MANIFEST]):
        odd = set(names) ^ {*entries, MANIFEST}
        raise ValueError(f"files are missing or do not belong there: {', '.join(sorted(odd)[:3])!r}")
    return entries


def _compare(name: str, found: Entry, manifest: Mapping[str, Entry]) -> None:
    wanted = manifest[name]
    if found.size != wanted.size:
        raise ValueError(f"{name} has {found.size} bytes instead of {wanted.size}")
    if found.sha256 != wanted.sha256:
        raise ValueError(f"{name} was changed: its SHA-256 is another")


def _read_state(path: Path, folder: int) -> tuple[int, dict[str, Any], Entry]:
    text = read_bounded(STATE, JSON_LIMIT, folder)
    value = parse_json(text)
    if not isinstance(value, dict) or value.keys() != {"step", "state"} or type(value["step"]) is not int:
        raise ValueError(f"{STATE} is malformed")
    step, state = value["step"], decode(value["state"])
    if not isinstance(state, dict):
        raise ValueError(f"{STATE} is malformed")
    if path.name.startswith("step-") and path.name != folder_name(step):
        raise ValueError(f"it was saved at step {step}")
    return step, state, Entry(len(text), hashlib.sha256(text).hexdigest())

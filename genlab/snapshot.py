"""One checkpoint on the disk: a folder of three files, checked byte for byte before anything in it counts.

`tensors.safetensors` and `state.json` hold the data, `manifest.json` the format version and the size and SHA-256 of
the other two. Reading runs no code, follows no link, and takes each file once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genlab.codec import decode, encode
from genlab.errors import CheckpointError
from genlab.files import (
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
from genlab.tensorfile import read_tensors, write_tensors

FORMAT = 1
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
MANIFEST_LIMIT = 4096  # bytes


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory: CPU tensors by name and the state that was saved beside them."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    path: Path


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    match = re.fullmatch(r"step-([0-9]{8,18})", name)
    return int(match[1]) if match and name == folder_name(int(match[1])) else None


def read(path: Path, verify: bool = True) -> Loaded:
    """The checkpoint in folder `path`. CheckpointError if anything about it is wrong; ResourceError if it does not
    fit in memory."""
    path = Path(path)
    try:
        folder = _open_folder(path)
        try:
            manifest = _manifest(folder)
            text = read_bounded(STATE, JSON_LIMIT, folder)
            if verify:
                _compare(STATE, Entry(len(text), hashlib.sha256(text).hexdigest()), manifest)
            step, state = _parse_state(text)
            tensors, entry = read_tensors(TENSORS, folder)
            if verify:
                _compare(TENSORS, entry, manifest)
        finally:
            os.close(folder)
        if path.name.startswith("step-") and path.name != folder_name(step):
            raise ValueError(f"it holds step {step}")
    except (OSError, ValueError, RuntimeError) as error:
        raise _read_error(path, error) from error
    return Loaded(step, tensors, state, path)


def verify(path: Path) -> None:
    """CheckpointError unless the files in `path` are those that its manifest names, byte for byte."""
    try:
        folder = _open_folder(path)
        try:
            manifest = _manifest(folder)
            for name in manifest:
                with open(open_regular(name, folder), "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    _compare(name, Entry(file.tell(), digest), manifest)
        finally:
            os.close(folder)
    except (OSError, ValueError) as error:
        raise _read_error(path, error) from error


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


def _parse_state(text: bytes) -> tuple[int, dict[str, Any]]:
    value = parse_json(text)
    if not isinstance(value, dict) or value.keys() != {"step", "state"} or type(value["step"]) is not int:
        raise ValueError(f"{STATE} is malformed")
    state = decode(value["state"])
    if not isinstance(state, dict):
        raise ValueError(f"{STATE} is malformed")
    return value["step"], state


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _read_error(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, OSError):
        linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
        reason = "a link or file is where a folder or file should be" if linked else str(error.strerror)
    else:
        reason = str(error)
    return CheckpointError(f"checkpoint {path.name} cannot be used: {reason}", str(path), "use another checkpoint")

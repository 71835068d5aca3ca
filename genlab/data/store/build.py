"""Building a store: beside its place, synced, renamed. Any number of workers builds the same bytes.

The order of its rows is the source's own; splits by seed are made over it. A build that is interrupted leaves
`.<store>.part` behind, and the next one for the same store goes on from its finished blocks; one that fails leaves
nothing. No part of it holds more than a few bytes for each image.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.data.store.decoding import Block, DecodeJob, decode_all, header, journal, noted
from genlab.data.store.encoded import Encoded
from genlab.data.store.hashing import blocks_hash, facts_hash, file_hash
from genlab.data.store.image import Form, Pixels
from genlab.errors import ResourceError

IMAGES = "images.npy"
SKIPPABLE = 0.001  # the largest share of unreadable pictures that `on_error: skip` accepts

Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """A data set as its reader found it: rows in the order of `parts` (official split -> number of rows).

    `images` are pixels uint8 (N, C, H, W), or encoded pictures to be decoded to `form`. `labels` are class numbers
    int64 (N,) or attributes uint8 (N, A) in {0, 1}. `skip_key` is the key of the configuration that decides about
    `skip_unreadable`, where the data set has one.
    """

    parts: dict[str, int]
    images: Pixels | Encoded
    labels: NDArray[Any] | None = None
    label_names: list[str] | None = None
    form: Form | None = None
    skip_unreadable: bool = False
    skip_key: str | None = None


def build(path: Path, source: Source, facts: dict[str, Any], show: Show | None) -> None:
    """Make the store `path` of `source`. Its lock is held, so nobody else is building it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.mkdir(exist_ok=True)
    try:
        _fill(temporary, source, facts, show)
        if path.exists():
            shutil.rmtree(path)  # the damaged one
        os.rename(temporary, path)
        journal(path / IMAGES).unlink(missing_ok=True)  # only now: until the rename it saves decoding anew
        _sync(path.parent)
    except Exception:  # not a signal: what is done then is kept
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _fill(folder: Path, source: Source, facts: dict[str, Any], show: Show | None) -> None:
    images = folder / IMAGES
    skipped: list[int] = []
    if isinstance(source.images, np.ndarray):
        _need(images, source.images.nbytes)
        _save(images, source.images)
        digest = file_hash(images)
        if show:
            show(len(source.images), len(source.images))
    else:
        digest, skipped = _decode(images, source, source.images, show)
    files = {images.name: [images.stat().st_size, digest]}
    if source.labels is not None:
        labels = folder / "labels.npy"
        _save(labels, source.labels)
        files[labels.name] = [labels.stat().st_size, file_hash(labels)]
    meta = {
        "facts": facts,
        "parts": source.parts,
        "label_names": source.label_names,
        "skipped": skipped,
        "files": files,
    }
    (folder / "meta.json").write_text(json.dumps({**meta, "sha256": facts_hash(meta)}, indent=1))
    for written in [*(folder / name for name in files), folder / "meta.json", folder]:
        _sync(written)


def _decode(file: Path, source: Source, pictures: Encoded, show: Show | None) -> tuple[str, list[int]]:
    """Write every row; returns the file's hash and the numbers of the rows that could not be read, if they may be."""
    assert source.form is not None
    count = len(pictures)
    shape = (count, source.form.planes, source.form.size, source.form.size)
    start = header(shape)
    known = _prepare(file, start, len(start) + int(np.prod(shape)))
    job = DecodeJob(pictures, source.form, str(file), len(start), source.skip_unreadable, source.skip_key, known)
    blocks = decode_all(job, int(SKIPPABLE * count), show)
    bad = {row: why for block in blocks for row, why in block.bad.items()}
    if bad:
        print(
            f"genlab: warning: {len(bad)} of {count} pictures cannot be read and are left out; "
            f"the first is {bad[min(bad)]}",
            file=sys.stderr,
        )
    return blocks_hash(start, (block.digest for block in blocks)), sorted(bad)


def _prepare(file: Path, start: bytes, size: int) -> dict[int, Block]:
    """A file of `size` bytes that begins with `start`, and what an interrupted build has noted of it."""
    begun = file.exists() and file.stat().st_size == size
    _need(file, size - (file.stat().st_blocks * 512 if begun else 0))
    if begun:
        with file.open("r+b") as out:  # no block's hash is over these bytes, and a power cut may have lost them
            out.write(start)
        return noted(file)
    journal(file).unlink(missing_ok=True)
    with file.open("wb") as out:
        out.write(start)
        out.truncate(size)
    return {}


def _save(file: Path, array: NDArray[Any]) -> None:
    """A .npy file. numpy's own writer hides the system's error number when the disk is full."""
    array = np.ascontiguousarray(array)
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
        out.write(array.data)


def _need(file: Path, size: int) -> None:
    free = shutil.disk_usage(file.parent).free
    if size > free:
        raise ResourceError(
            f"the decoded store needs {size} bytes and {free} are free",
            str(file.parent),
            "free some, or point GENLAB_CACHE to a larger disk",
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

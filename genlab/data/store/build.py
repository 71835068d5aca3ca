"""Building a store in a temporary folder, which is synced and renamed. Any number of workers builds the same bytes.

Images keep the order of the source; splits refer to it. An interrupted build leaves `.<store>.part` behind,
from whose finished blocks the next one resumes; a failed build leaves nothing. Memory is a few bytes per image.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.data.store.decoding import Block, DecodeJob, decode_all, header, journal, noted
from genlab.data.store.encoded import Encoded
from genlab.data.store.hashing import block_hashes, blocks_hash, file_hash, json_hash
from genlab.data.store.image import Form
from genlab.errors import ResourceError
from genlab.utils.terminal import say

IMAGES, BLOCKS = "images.npy", "images.sha256"
SKIPPABLE = 0.001  # the largest fraction of unreadable images that `on_error: skip` accepts; one is always accepted

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """A data set as it was read: samples in the order of `parts` (official split to number of samples).

    `images` are pixels uint8 (N, C, H, W), points float32 (N, D, 1, 1), or encoded images to be decoded to `form`.
    `labels` are classes int64 (N,) or attributes uint8 (N, A) in {0, 1}. The last two fields are set by
    `StoredDataset`: whether unreadable images are left out, and the key of the configuration that decides about it.
    """

    parts: dict[str, int]
    images: NDArray[Any] | Encoded
    labels: NDArray[Any] | None = None
    label_names: list[str] | None = None
    form: Form | None = None
    skip_unreadable: bool = False
    skip_key: str | None = None


def build(path: Path, source: Source, key: dict[str, Any], progress: Progress | None) -> None:
    """Build the store `path` from `source`. The caller holds its lock."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.mkdir(exist_ok=True)
    try:
        _fill(temporary, source, key, progress)
        if path.exists():
            shutil.rmtree(path)  # the damaged one
        os.rename(temporary, path)
        journal(path / IMAGES).unlink(missing_ok=True)  # only now: until the rename it saves decoding again
        _sync(path.parent)
    except Exception:  # not a signal: then finished blocks are kept
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _fill(folder: Path, source: Source, key: dict[str, Any], progress: Progress | None) -> None:
    images = folder / IMAGES
    skipped: list[int] = []
    if isinstance(source.images, np.ndarray):
        _need(images, source.images.nbytes)
        _save(images, source.images)
        start, digests = block_hashes(images)
        if progress:
            progress(len(source.images), len(source.images))
    else:
        start, digests, skipped = _decode(images, source, source.images, progress)
    files = {images.name: [images.stat().st_size, blocks_hash(start, digests)]}
    blocks = folder / BLOCKS
    blocks.write_text("\n".join(digests))
    files[blocks.name] = [blocks.stat().st_size, file_hash(blocks)]
    if source.labels is not None:
        labels = folder / "labels.npy"
        _save(labels, source.labels)
        files[labels.name] = [labels.stat().st_size, file_hash(labels)]
    meta = {
        "key": key,
        "parts": source.parts,
        "label_names": source.label_names,
        "skipped": skipped,
        "files": files,
    }
    (folder / "meta.json").write_text(json.dumps({**meta, "sha256": json_hash(meta)}, indent=1))
    for written in [*(folder / name for name in files), folder / "meta.json", folder]:
        _sync(written)


def _decode(
    file: Path, source: Source, encoded: Encoded, progress: Progress | None
) -> tuple[bytes, list[str], list[int]]:
    """Decode every image into the file; returns its header, the hashes of its blocks, and the images left out."""
    assert source.form is not None
    count = len(encoded)
    shape = (count, source.form.planes, source.form.size, source.form.size)
    start = header(shape)
    known = _prepare(file, start, len(start) + int(np.prod(shape)))
    job = DecodeJob(encoded, source.form, str(file), len(start), source.skip_unreadable, source.skip_key, known)
    blocks = decode_all(job, max(min(1, count - 1), int(SKIPPABLE * count)), progress)
    bad = {index: why for block in blocks for index, why in block.bad.items()}
    if bad:
        say(f"warning: {len(bad)} of {count} images cannot be read and are left out; the first is {bad[min(bad)]}")
    return start, [block.digest for block in blocks], sorted(bad)


def _prepare(file: Path, start: bytes, size: int) -> dict[int, Block]:
    """Create a file of `size` bytes that begins with `start`; returns the finished blocks of an interrupted build."""
    begun = file.exists() and file.stat().st_size == size
    _need(file, size - (file.stat().st_blocks * 512 if begun else 0))
    if begun:
        with file.open("r+b") as out:  # not part of any block's hash, and a power cut may have lost it
            out.write(start)
        return noted(file)
    journal(file).unlink(missing_ok=True)
    with file.open("wb") as out:
        out.write(start)
        out.truncate(size)
    return {}


def _save(file: Path, array: NDArray[Any]) -> None:
    """Write a .npy file. NumPy's own writer hides the error number of a full disk."""
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

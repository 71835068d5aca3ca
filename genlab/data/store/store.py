"""The decoded store: every image of a source once, as uint8, memory-mapped by all runs that use this size.

`<cache>/store/<name>-<size>-<key>/` holds `images.npy` (N, C, H, W), `labels.npy` if there are labels, `images.sha256`
with the hash of each block of images, and `meta.json` with a hash of each file. The key is a hash of the source and of
how pixels are computed, so a store never changes; `build` writes it to a temporary folder, syncs and renames it.
Opening one reads the small files and the headers only.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.data.store import decoding
from genlab.data.store.build import BLOCKS, Progress, Source, build
from genlab.data.store.hashing import blocks_hash, file_hash, json_hash
from genlab.data.store.stored_array import Blocks
from genlab.errors import ConfigError, DataError, ResourceError, raise_if_exhausted
from genlab.utils.file_lock import lock
from genlab.utils.paths import cache_folder
from genlab.utils.terminal import say

__all__ = ["Damaged", "Progress", "Source", "Store", "obtain"]

FORMAT = 2
SMALL = 16 * 2**20  # files up to this size are hashed at every opening, larger ones by `verify`


@dataclass(frozen=True)
class Store:
    """An opened store: arrays memory-mapped read-only, and the indices of each official split, `parts`."""

    path: Path
    images: np.memmap[Any, np.dtype[Any]]
    labels: np.memmap[Any, np.dtype[Any]] | None
    label_names: list[str] | None
    parts: dict[str, NDArray[np.int64]]
    blocks: Blocks | None = None  # of `images`; None if all of them were hashed at opening, or the store has no hashes
    old: bool = False  # of a version that kept no hash of each block


class Damaged(Exception):
    """A store that exists but is incomplete or changed."""


def obtain(
    name: str, key: dict[str, Any], read: Callable[[], Source], progress: Progress | None = None, verify: bool = False
) -> Store:
    """The store for `key` (JSON), built from `read()` unless it exists.

    A damaged store is rebuilt with one warning. Of two processes that need it at once, the second waits for the first.
    """
    digest = json_hash({"format": FORMAT, **key})
    path = cache_folder() / "store" / f"{name}-{key.get('size') or 'native'}-{digest[:16]}"
    with contextlib.suppress(Damaged, FileNotFoundError):
        found = _open(path, verify)
        with contextlib.suppress(OSError):  # of a process that was killed just before it removed it
            decoding.journal(path / "images.npy").unlink(missing_ok=True)
        return found
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_suffix(".lock"), f"the {name} store"):
            with contextlib.suppress(FileNotFoundError):
                try:
                    return _open(path, verify)  # another process has just built it
                except Damaged as error:
                    say(f"warning: the store {path} is damaged ({error}); rebuilding it")
            build(path, read(), key, progress)
            return _just_built(path)


def _just_built(path: Path) -> Store:
    try:
        return _open(path, verify=False)
    except Damaged as error:
        raise DataError(
            f"the store does not read as it was written ({error})", str(path), "check the disk and start again"
        ) from None


def _open(path: Path, verify: bool) -> Store:
    """Damaged if any file differs from meta.json; FileNotFoundError if there is no store."""
    if not path.is_dir():
        raise FileNotFoundError(path)
    try:
        meta = _checked_meta(path)
        for name, (size, digest) in meta["files"].items():
            if (path / name).stat().st_size != size:
                raise Damaged(f"{name} has {(path / name).stat().st_size} bytes instead of {size}")
            if (verify or size <= SMALL) and file_hash(path / name) != digest:
                raise Damaged(f"{name} has another sha256")
        images = _map(path / "images.npy")
        labels = _map(path / "labels.npy") if "labels.npy" in meta["files"] else None
        blocks = _blocks(path, images, meta["files"])
        return Store(path, images, labels, meta["label_names"], _parts(meta), blocks, BLOCKS not in meta["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError, TokenError) as error:  # numpy's too
        raise_if_exhausted(error)
        raise Damaged(f"{type(error).__name__}: {error}") from None


def _blocks(path: Path, images: np.memmap[Any, np.dtype[Any]], files: dict[str, Any]) -> Blocks | None:
    """The hashes of the blocks of images that were not read yet. Damaged unless they and the header fit meta.json."""
    size, digest = files["images.npy"]
    if size <= SMALL or BLOCKS not in files:
        return None
    digests = (path / BLOCKS).read_text().splitlines()
    with (path / "images.npy").open("rb") as file:
        start = file.read(images.offset)
    if blocks_hash(start, digests) != digest:
        raise Damaged(f"the header of images.npy or {BLOCKS} is another")
    return Blocks(decoding.BLOCK * images[:1].nbytes, digests)


def _map(path: Path) -> np.memmap[Any, np.dtype[Any]]:
    # read-only: the kernel refuses a private writable map larger than its memory
    mapped: np.memmap[Any, np.dtype[Any]] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _parts(meta: dict[str, Any]) -> dict[str, NDArray[np.int64]]:
    """The indices of each official split, without the unreadable images."""
    parts, start = {}, 0
    for name, count in meta["parts"].items():
        indices = np.arange(start, start + count)
        parts[name] = np.setdiff1d(indices, np.asarray(meta["skipped"], np.int64)) if meta["skipped"] else indices
        start += count
    return parts


def _checked_meta(path: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((path / "meta.json").read_text())
    digest = meta.pop("sha256")
    if digest != json_hash(meta):
        raise Damaged("meta.json has another sha256")
    return meta


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Raise a full disk or an unwritable cache as one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(
                "the disk is full",
                f"while writing the store {path}",
                "free some space, or point GENLAB_CACHE to a larger disk",
            ) from None
        raise_if_exhausted(error)
        raise ConfigError(
            f"the cache cannot be written ({error})",
            f"{path.parent}",
            "point the environment variable GENLAB_CACHE to a writable folder",
        ) from None

"""The decoded store: every picture of a source once, as uint8, memory-mapped by all runs that want this size.

`<cache>/store/<name>-<size>-<key>/` holds `images.npy` (N, C, H, W), `labels.npy` where there are labels, and
`meta.json` with the sha256 of each. The key is a hash of the source's fingerprint and of how pixels are made, so
nothing in a store ever changes; it is built beside its place, synced, and renamed. The order of its rows is the
source's own: splits by seed are made over it, and any number of workers builds the same bytes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.data.decoding import DecodeJob, decode_all, write_header
from genlab.data.encoded import Encoded
from genlab.data.images import Form, Pixels
from genlab.data.lock import lock
from genlab.errors import ConfigError, DataError, ResourceError
from genlab.paths import cache_folder

FORMAT = 1
SMALL = 16 * 2**20  # files up to this size are hashed at every opening, larger ones by `verify`
SKIPPABLE = 0.001  # the largest share of unreadable pictures that `on_error: skip` accepts

Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """A data set as its reader found it: rows in the order of `parts` (official split -> number of rows).

    `images` are pixels uint8 (N, C, H, W), or encoded pictures to be decoded to `form`. `labels` are class numbers
    int64 (N,) or attributes uint8 (N, A) in {0, 1}.
    """

    parts: dict[str, int]
    images: Pixels | Encoded
    labels: NDArray[Any] | None = None
    label_names: list[str] | None = None
    form: Form | None = None
    skip_unreadable: bool = False


@dataclass(frozen=True)
class Store:
    """An opened store; arrays are memory-mapped copy-on-write, `parts` are row numbers by official split."""

    path: Path
    images: Pixels
    labels: NDArray[Any] | None
    label_names: list[str] | None
    parts: dict[str, NDArray[np.int64]]


class Damaged(Exception):
    """A store that is there but not whole."""


def obtain(
    name: str, facts: dict[str, Any], read: Callable[[], Source], show: Show | None = None, verify: bool = False
) -> Store:
    """The store for `facts` (JSON; they make its key), built from `read()` unless it is there already.

    A damaged one is rebuilt with one warning. Two processes that want it at once make one: the second waits.
    """
    key = hashlib.sha256(json.dumps({"format": FORMAT, **facts}, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / "store" / f"{name}-{facts.get('size') or 'native'}-{key[:16]}"
    with contextlib.suppress(Damaged, FileNotFoundError):
        return _open(path, verify)
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.with_suffix(".lock"), f"the {name} store"):
            with contextlib.suppress(FileNotFoundError):
                try:
                    return _open(path, verify)  # another process has just made it
                except Damaged as error:
                    print(f"genlab: warning: the store {path} is damaged ({error}); building it again", file=sys.stderr)
            _sweep(path)
            _build(path, read(), facts, show)
            return _open(path, verify=False)


def _open(path: Path, verify: bool) -> Store:
    """Damaged if any file is not what meta.json says; FileNotFoundError if there is no store."""
    if not path.is_dir():
        raise FileNotFoundError(path)
    try:
        meta = _checked_meta(path)
        for name, (size, digest) in meta["files"].items():
            if (path / name).stat().st_size != size:
                raise Damaged(f"{name} has {(path / name).stat().st_size} bytes instead of {size}")
            if (verify or size <= SMALL) and _sha256(path / name) != digest:
                raise Damaged(f"{name} has another sha256")
        images = _map(path / "images.npy")
        labels = _map(path / "labels.npy") if "labels.npy" in meta["files"] else None
        return Store(path, images, labels, meta["label_names"], _rows(meta))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None


def _map(path: Path) -> NDArray[Any]:
    # copy-on-write: torch wants a writable array, and no run may change the store
    return np.load(path, mmap_mode="c", allow_pickle=False)


def _rows(meta: dict[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Row numbers of each official split, without the unreadable pictures."""
    parts, start = {}, 0
    for name, count in meta["parts"].items():
        parts[name] = np.setdiff1d(np.arange(start, start + count), np.asarray(meta["skipped"], np.int64))
        start += count
    return parts


def _checked_meta(path: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((path / "meta.json").read_text())
    digest = meta.pop("sha256")
    if digest != _meta_digest(meta):
        raise Damaged("meta.json has another sha256")
    return meta


def _meta_digest(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _build(path: Path, source: Source, facts: dict[str, Any], show: Show | None) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        skipped = _write_images(temporary / "images.npy", source, show)
        if source.labels is not None:
            _save(temporary / "labels.npy", source.labels)
        meta = {
            "facts": facts,
            "parts": source.parts,
            "label_names": source.label_names,
            "skipped": skipped,
            "files": {file.name: [file.stat().st_size, _sha256(file)] for file in sorted(temporary.iterdir())},
        }
        (temporary / "meta.json").write_text(json.dumps({**meta, "sha256": _meta_digest(meta)}, indent=1))
        for written in [*temporary.iterdir(), temporary]:
            _sync(written)
        if path.exists():
            shutil.rmtree(path)  # the damaged one
        os.rename(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_images(file: Path, source: Source, show: Show | None) -> list[int]:
    """Write every row; returns the numbers of those that could not be read, if they may be skipped."""
    images = source.images
    count = sum(source.parts.values())
    if isinstance(images, np.ndarray):
        _need(file, images.nbytes)
        _save(file, images)
        if show:
            show(count, count)
        return []
    assert source.form is not None
    shape = (count, source.form.channels, source.form.size, source.form.size)
    _need(file, int(np.prod(shape)))
    job = DecodeJob(images, source.form, str(file), write_header(file, shape), source.skip_unreadable)
    bad = decode_all(job, show)
    if len(bad) > SKIPPABLE * count:
        first = min(bad)
        raise DataError(
            f"{len(bad)} of {count} pictures cannot be read, more than dataset.on_error=skip accepts",
            f"the first is {images.name(first)} ({bad[first]})",
            "restore them from their source",
        )
    if bad:
        first = min(bad)
        print(
            f"genlab: warning: {len(bad)} of {count} pictures cannot be read and are left out; "
            f"the first is {images.name(first)} ({bad[first]})",
            file=sys.stderr,
        )
    return sorted(bad)


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


def _sweep(path: Path) -> None:
    """Remove what a killed builder of this store left. Its lock is held, so nobody is building it."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """A full disk or an unwritable cache as one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(
                "the disk is full",
                f"while writing the store {path}",
                "free some space, or point GENLAB_CACHE to a larger disk",
            ) from None
        raise ConfigError(
            f"the cache cannot be written ({error})",
            f"{path.parent}",
            "point the environment variable GENLAB_CACHE to a folder that can",
        ) from None

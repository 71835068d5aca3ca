"""Small data sets in the formats of the real ones."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image


def idx(array: np.ndarray) -> bytes:
    """An IDX file's bytes, written independently of the reader."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist(
    root: Path, train: int = 40, test: int = 20, gz: bool = True, folder: str = "MNIST/raw"
) -> dict[str, np.ndarray]:
    """MNIST's four files with random contents, and what they hold."""
    rng = np.random.default_rng(0)
    raw = root / folder
    raw.mkdir(parents=True)
    held = {}
    for prefix, n in (("train", train), ("t10k", test)):
        held[f"{prefix}-images-idx3-ubyte"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        held[f"{prefix}-labels-idx1-ubyte"] = (np.arange(n) % 10).astype(np.uint8)
    for name, array in held.items():
        path = raw / (name + ".gz" if gz else name)
        path.write_bytes(gzip.compress(idx(array)) if gz else idx(array))
    return held


def photo(seed: int, width: int = 40, height: int = 50) -> Image.Image:
    """A smooth color picture, so that JPEG keeps it well."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: int) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def celeba(root: Path, n: int = 12, zipped: bool = False, crlf: bool = True) -> Path:
    """n aligned faces, two thirds train, the rest valid and test; attribute k of picture i is (i + k) odd."""
    home = root / "celeba"
    home.mkdir(parents=True)
    names = [f"{3 * i + 1:06d}.jpg" for i in range(n)]
    end = "\r\n" if crlf else "\n"
    rows = [name + " " + " ".join("1" if (i + k) % 2 else "-1" for k in range(40)) for i, name in enumerate(names)]
    attributes = " ".join(f"Attribute_{k}" for k in range(40)) + " "
    (home / "list_attr_celeba.txt").write_bytes(end.join([str(n), attributes, *rows, ""]).encode())
    parts = [0 if 3 * i < 2 * n else 1 + i % 2 for i in range(n)]
    lines = [f"{name} {part}" for name, part in zip(names, parts, strict=True)]
    (home / "list_eval_partition.txt").write_bytes(end.join([*lines, ""]).encode())
    pictures = {name: encoded(photo(i, 178, 218)) for i, name in enumerate(names)}
    if zipped:
        with zipfile.ZipFile(home / "img_align_celeba.zip", "w") as archive:
            for name, data in pictures.items():
                archive.writestr(f"img_align_celeba/{name}", data)
    else:
        (home / "img_align_celeba").mkdir()
        for name, data in pictures.items():
            (home / "img_align_celeba" / name).write_bytes(data)
    return home


def lsun(root: Path, train: int = 20, test: int = 5, make: Callable[[int], bytes] | None = None) -> Path:
    """Two LMDBs of JPEGs; returns the folder that holds them."""
    make = make or (lambda i: encoded(photo(i, 80 + i, 64)))
    for part, numbers in (("train", range(train)), ("val", range(train, train + test))):
        folder = root / "lsun" / f"bedroom_{part}_lmdb"
        folder.mkdir(parents=True)
        with lmdb.open(str(folder), map_size=2**32) as environment, environment.begin(write=True) as transaction:
            for i in numbers:
                transaction.put(f"{i:040x}".encode(), make(i))
        (folder / "lock.mdb").unlink()
    return root / "lsun"


def folder(root: Path, parts: dict[str, int], kind: str = "PNG") -> Path:
    """`parts`: sub-folder (or ".") -> number of pictures."""
    for place, n in parts.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (root / place / f"{i:03d}.{kind.lower()}").write_bytes(encoded(photo(i), kind))
    return root


def crash() -> Iterator[None]:
    """A job for a child process that ends as one whose C library met a damaged file."""
    os.abort()
    yield

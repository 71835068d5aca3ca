"""Hashes that verify a store and identify data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.store import decoding
from genlab.utils.files import file_sha256


def file_hash(path: Path) -> str:
    """sha256 (hex) of a file; for images.npy, of its header and block hashes. ValueError or OSError if damaged."""
    if path.name != "images.npy":
        return file_sha256(path)
    return blocks_hash(*block_hashes(path))


def block_hashes(path: Path) -> tuple[bytes, list[str]]:
    """The header of an images.npy, and the sha256 (hex) of each block of BLOCK images."""
    with path.open("rb") as file:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        header, block = file.read(rows.offset), decoding.BLOCK * rows[:1].nbytes
        return header, [hashlib.sha256(data).hexdigest() for data in iter(lambda: file.read(block), b"")]


def blocks_hash(header: bytes, digests: Iterable[str]) -> str:
    """The hash of an images.npy from the hashes of its blocks, computed by the processes that decode them."""
    digest = hashlib.sha256(header)
    for block in digests:
        digest.update(bytes.fromhex(block))
    return digest.hexdigest()


def json_hash(value: dict[str, Any]) -> str:
    """sha256 (hex) of a mapping that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

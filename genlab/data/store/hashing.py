"""The hashes by which a store is known to be whole, and data to be the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.store import decoding


def file_hash(path: Path) -> str:
    """sha256 (hex) of a file; of images.npy, of its header and its blocks' hashes. ValueError, OSError if damaged."""
    with path.open("rb") as file:
        if path.name != "images.npy":
            return hashlib.file_digest(file, "sha256").hexdigest()
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        header, block = file.read(rows.offset), decoding.BLOCK * rows[:1].nbytes
        return blocks_hash(header, (hashlib.sha256(data).hexdigest() for data in iter(lambda: file.read(block), b"")))


def blocks_hash(header: bytes, digests: Iterable[str]) -> str:
    """The hash of an images.npy from those of its blocks, which the processes that decode them make."""
    digest = hashlib.sha256(header)
    for block in digests:
        digest.update(bytes.fromhex(block))
    return digest.hexdigest()


def facts_hash(facts: dict[str, Any]) -> str:
    """sha256 (hex) of facts that JSON can hold, in whatever order."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

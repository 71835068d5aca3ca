"""The IDX format of MNIST (LeCun): a magic number, a big-endian uint32 for each dimension, then the bytes."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from genlab.errors import DataError

UINT8 = 0x08
MAX_ITEMS = 2_000_000  # more than any set in this format; a hostile header may claim 2**32
CHUNK = 2**20


def read_idx(path: Path, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 (N, *item) from a plain or gzipped (`.gz`) file; DataError if it holds anything else, or more, or less.

    Memory is bounded by the content of the file, whatever its header claims.
    """
    try:
        with _opened(path) as file:
            return _read(path, file, item)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"its gzip stream is damaged or truncated ({error})") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read", str(error.strerror or error), "check the file") from None


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _read(path: Path, file: BinaryIO, item: tuple[int, ...]) -> NDArray[np.uint8]:
    magic = (UINT8 << 8) | (1 + len(item))
    length = 4 * (2 + len(item))
    header = file.read(length)
    if len(header) < length:
        raise _damaged(path, f"its header has {len(header)} bytes instead of {length}")
    found, *dims = (int(number) for number in np.frombuffer(header, ">u4"))
    if found != magic:
        raise _damaged(path, f"its magic number is {found:#010x} instead of {magic:#010x}")
    if tuple(dims[1:]) != item:
        raise _damaged(path, f"its items are {dims[1:]} instead of {list(item)}")
    if not 0 < dims[0] <= MAX_ITEMS:
        raise _damaged(path, f"its header claims {dims[0]} items")
    expected = math.prod(dims)
    body = bytearray()
    while len(body) <= expected:  # one byte more than expected shows a file that is too long
        chunk = file.read(min(CHUNK, expected + 1 - len(body)))
        if not chunk:
            break
        body += chunk
    if len(body) != expected:
        actual = f"{len(body)}" if len(body) < expected else f"more than {expected}"
        raise _damaged(path, f"expected {expected} bytes after the header and found {actual}")
    return np.frombuffer(body, np.uint8).reshape(dims)


def _damaged(path: Path, how: str) -> DataError:
    return DataError(f"{path} is not a valid IDX file", how, "download it again")

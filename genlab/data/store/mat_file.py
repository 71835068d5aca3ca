"""Variables of MATLAB files. Imports no torch: damaged files are read in a child process."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.errors import DataError, raise_if_exhausted

LARGEST = 2**28  # bytes of a file, and of all that is packed in it; SVHN's training images are 225 MB
CHUNK = 2**16
HEADER = 128
COMPRESSED = 15  # the type of an element with a deflate stream
NUMBERS = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "single", "double"}


def variables(file: Path, names: Sequence[str], what: str) -> list[NDArray[Any]]:
    """The numeric arrays of these names in the file, which is to be `what`; DataError if one is missing."""
    from scipy.io import loadmat

    try:
        _check(file, names)
        held = loadmat(file, variable_names=list(names))
        arrays = [held[name] for name in names]
    except Exception as error:  # a damaged file may make it raise anything
        raise_if_exhausted(error)
        raise not_the_file(file, what, f"{type(error).__name__}: {error}") from None
    for name, array in zip(names, arrays, strict=True):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or not array.size:
            raise not_the_file(file, what, f"its variable '{name}' is not an array of numbers")
    return arrays


def _check(file: Path, names: Sequence[str]) -> None:
    """ValueError unless the variables are numbers and the file is small, unpacked as well: a header may claim more."""
    from scipy.io import whosmat

    if file.stat().st_size > LARGEST or _unpacked_size(file) > LARGEST:
        raise ValueError(f"it holds more than {LARGEST} bytes")
    for name, shape, kind in whosmat(file):
        if name in names and (kind not in NUMBERS or math.prod(shape) > LARGEST):
            raise ValueError(f"its variable '{name}' is {kind} of shape {shape}")


def _unpacked_size(file: Path) -> int:
    """The bytes that the compressed elements unpack to; more than LARGEST are not counted. 0 before version 5."""
    size = 0
    with file.open("rb") as stream:
        header = stream.read(HEADER)
        if 0 in header[:4]:
            return 0
        tag = struct.Struct("<II" if header[126:] == b"IM" else ">II")
        while len(read := stream.read(tag.size)) == tag.size:
            kind, length = tag.unpack(read)
            following = stream.tell() + length
            inflate = zlib.decompressobj()
            while kind == COMPRESSED and not inflate.eof and size <= LARGEST:
                packed = inflate.unconsumed_tail or stream.read(min(CHUNK, following - stream.tell()))
                if not packed:
                    break
                size += len(inflate.decompress(packed, CHUNK))
            stream.seek(following)
    return size


def not_the_file(file: Path, what: str, how: str) -> DataError:
    return DataError(f"{file} is not {what}", how, "download it again")

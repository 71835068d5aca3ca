"""safetensors files with their size and hash, through the safetensors library.

A file is read into memory before it is parsed: a mapped file that shrinks meanwhile would kill the process (SIGBUS).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from genlab.errors import ResourceError
from genlab.files import Entry, open_regular, size_text, write_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> Entry:
    """Write contiguous CPU tensors; size and hash of the file. ValueError for a dtype that the format lacks."""
    try:
        data = save(dict(tensors))
    except (SafetensorError, KeyError) as error:
        raise TypeError(f"a tensor cannot be held by a safetensors file: {error}") from error
    return write_file(path, [data])


def read_tensors(name: str, dir_fd: int) -> tuple[dict[str, Tensor], Entry]:
    """The tensors in file `name` of an open folder, with the file's size and hash.

    ValueError or OSError for a damaged or hostile file; ResourceError if there is no memory for it.
    """
    with open(open_regular(name, dir_fd), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            data = file.read()
            tensors = load(data)
        except MemoryError as error:
            raise ResourceError(
                f"no memory for {size_text(size)}",
                "reading a checkpoint",
                "close other programs or use a larger machine",
            ) from error
        except (SafetensorError, KeyError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{name} is damaged ({error})") from None
    return tensors, Entry(len(data), hashlib.sha256(data).hexdigest())

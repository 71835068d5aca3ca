"""safetensors files with their size and hash: written from the tensors' own memory, read by the safetensors library.

The library's writer would copy everything once or twice, and gives no errno when the disk is full. A file is read into
memory before it is parsed: a mapped file that shrinks meanwhile would kill the process (SIGBUS).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from genlab.errors import ResourceError
from genlab.utils.files import Entry, dump_json, open_regular, read_bounded, size_text, write_file

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.bool: "BOOL",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ", torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
}  # fmt: skip

HEADER_LIMIT = 2**20  # bytes, for the names and shapes in a file of weights


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> Entry:
    """Write contiguous CPU tensors; size and hash of the file. TypeError for a dtype that the format lacks."""
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise TypeError(f"a tensor cannot be held by a safetensors file: '{name}' is {tensor.dtype}")
    return write_file(path, _chunks(tensors))


def _chunks(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The file in pieces: the header's length and the header, padded to 8 bytes, then the tensors' memory."""
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # so that all are aligned
    header: dict[str, Any] = {}
    end = 0
    for name in order:
        tensor, start = tensors[name], end
        end += tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = dump_json(header, indent=None)
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        yield tensors[name].reshape(-1).view(torch.uint8).numpy().data


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


def read_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The tensors in a user's file, which are meant for `network`: a file of twice its size is not read.

    ValueError or OSError for a damaged, hostile or too long file.
    """
    own = sum(tensor.nbytes for tensor in network.state_dict().values())
    try:
        return load(read_bounded(path.resolve(), 2 * own + HEADER_LIMIT))
    except (SafetensorError, KeyError, OverflowError) as error:
        raise ValueError(f"{path.name} is damaged ({error})") from None

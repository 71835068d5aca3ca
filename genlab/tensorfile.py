"""safetensors files, written and read in one pass that also hashes them.

The format (github.com/huggingface/safetensors): the length of a JSON header as little-endian uint64, the header
`{name: {dtype, shape, data_offsets}}`, the tensors' bytes. The library maps a file into memory or holds it whole
beside its tensors; a mapped file that shrinks kills the process (SIGBUS), and the hash would need a second pass. Here
each tensor is read straight into its own memory, after the header was found consistent with the file's size.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genlab.errors import ResourceError
from genlab.files import JSON_LIMIT, Entry, dump_json, open_regular, parse_json, size_text, write_file

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "BOOL": torch.bool, "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> Entry:
    """Write contiguous CPU tensors; size and hash of the file. TypeError for a dtype that the format lacks."""
    # the widest first, which keeps every tensor aligned to its own elements
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header, end = {}, 0
    for name, tensor in ordered:
        if tensor.dtype not in NAMES:
            raise TypeError(f"tensor '{name}' has dtype {tensor.dtype}, which safetensors files cannot hold")
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = dump_json(header, indent=None)
    text += b" " * (-len(text) % 8)
    if len(text) > JSON_LIMIT:
        raise ValueError(f"{len(tensors)} tensors need a header longer than {size_text(JSON_LIMIT)}")

    def chunks() -> Iterator[bytes | memoryview]:
        yield len(text).to_bytes(8, "little") + text
        yield from (_bytes_of(tensor) for _, tensor in ordered)

    return write_file(path, chunks())


def read_tensors(name: str, dir_fd: int) -> tuple[dict[str, Tensor], Entry]:
    """The tensors in file `name` of an open folder, with the file's size and hash.

    ValueError or OSError for a damaged or hostile file, before memory is taken for more than the file holds;
    ResourceError if that memory is not there.
    """
    fd = open_regular(name, dir_fd)
    with open(fd, "rb", buffering=0) as file:
        size, digest = os.fstat(fd).st_size, hashlib.sha256()

        def fill(buffer: memoryview) -> None:
            rest = buffer
            while rest:
                count = file.readinto(rest)
                if not count:
                    raise ValueError(f"{name} ends too early")
                rest = rest[count:]
            digest.update(buffer)

        header = _read_header(name, size, fill)
        tensors = {}
        for key, dtype, shape in header:
            tensors[key] = _empty(dtype, shape)
            fill(_bytes_of(tensors[key]))
    return tensors, Entry(size, digest.hexdigest())


def _empty(dtype: torch.dtype, shape: list[int]) -> Tensor:
    try:
        return torch.empty(shape, dtype=dtype)
    except (RuntimeError, MemoryError) as error:
        if math.prod(shape) == 0:  # a shape like [0, 2**62, 2**62] has no bytes, yet torch cannot make it
            raise ValueError(f"impossible shape {shape}") from None
        need = size_text(math.prod(shape) * dtype.itemsize)
        raise ResourceError(
            f"no memory for a tensor of {need}", "reading a checkpoint", "close other programs or use a larger machine"
        ) from error


def _read_header(name: str, size: int, fill: Any) -> list[tuple[str, torch.dtype, list[int]]]:
    """Names, dtypes and shapes in the order of their bytes, which must fill the file without hole or overlap."""
    prefix = bytearray(8)
    fill(memoryview(prefix))
    length = int.from_bytes(prefix, "little")
    if length > min(JSON_LIMIT, size - 8):
        raise ValueError(f"the header of {name} claims {length} bytes")
    text = bytearray(length)
    fill(memoryview(text))
    header = parse_json(bytes(text))
    if not isinstance(header, dict):
        raise ValueError(f"the header of {name} is no object")
    header.pop("__metadata__", None)
    fields = sorted((_field(key, value) for key, value in header.items()), key=lambda field: field[3])
    position = 0
    for key, dtype, shape, (start, end) in fields:
        if start != position or end - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"the bytes of '{key[:80]}' in {name} do not fit its shape or its neighbours")
        position = end
    if position != size - 8 - length:
        raise ValueError(f"{name} holds {size - 8 - length} bytes of tensors, its header describes {position}")
    return [(key, dtype, shape) for key, dtype, shape, _ in fields]


def _field(key: str, value: Any) -> tuple[str, torch.dtype, list[int], tuple[int, int]]:
    wrong = ValueError(f"the header's entry '{key[:80]}' is malformed")
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise wrong
    dtype, shape, offsets = DTYPES.get(str(value["dtype"])), value["shape"], value["data_offsets"]
    if dtype is None or not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > 64:
        raise wrong
    return key, dtype, shape, (offsets[0], offsets[1])


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor."""
    return tensor.detach().view(-1).view(torch.uint8).numpy().data

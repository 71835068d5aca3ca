"""Reading entries of an array file on demand.

A memory map counts every page it has touched as memory of the process, reads one page at a time from a cold disk, and
ends the process with SIGBUS if the file is truncated. One read per entry avoids all three.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlab.errors import DataError

CHUNK = 64 * 2**20  # bytes on their way to a device at a time


class Blocks(NamedTuple):
    """The bytes of a block, and the sha256 (hex) of each block in order; the last one may be shorter."""

    nbytes: int
    digests: list[str]


class StoredArray:
    """The .npy file behind a memory-mapped array (N, ...); `shape` and `dtype` are those of a tensor.

    `blocks` are the hashes of its data, if they are known. Any thread may read. DataError if the file cannot be read.
    """

    def __init__(self, array: np.memmap, blocks: Blocks | None = None) -> None:
        self.path, self._start, self.blocks = Path(str(array.filename)), array.offset, blocks
        self.shape = torch.Size(array.shape)
        self.dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        self.nbytes = array.nbytes
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise self._unreadable(str(error.strerror)) from None
        weakref.finalize(self, os.close, self._file)
        if hasattr(os, "posix_fadvise"):  # access is random: read-ahead would be wasted
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def take(self, indices: Tensor, out: Tensor) -> Tensor:
        """The entries at `indices` (n,), read into `out` (n, ...) on the host."""
        rows = out.numpy().reshape(len(indices), -1).view(np.uint8)
        size = rows.shape[1]
        for buffer, index in zip(rows, indices.tolist(), strict=True):
            self.fill(buffer, index * size)
        return out

    def load(self, device: torch.device) -> Tensor:
        """The whole array on `device`, copied through two small buffers."""
        whole = torch.empty(self.shape, dtype=self.dtype, device=device)
        flat = whole.view(-1).view(torch.uint8)
        if device.type == "cpu":
            for start in range(0, self.nbytes, CHUNK):
                self.fill(flat[start : start + CHUNK].numpy(), start)
            return whole
        size = min(CHUNK, self.nbytes)
        buffers = [torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda") for _ in range(2)]
        sent: list[torch.cuda.Event | None] = [None, None]
        for turn, start in enumerate(range(0, self.nbytes, CHUNK)):
            there = flat[start : start + CHUNK]
            here = buffers[turn % 2][: len(there)]
            event = sent[turn % 2]
            if event:
                event.synchronize()  # the buffer is free once its content has been copied
            self.fill(here.numpy(), start)
            there.copy_(here, non_blocking=device.type == "cuda")
            if device.type == "cuda":
                sent[turn % 2] = torch.cuda.current_stream(device).record_event()
        return whole

    def fill(self, buffer: np.ndarray, offset: int) -> None:
        """Fill `buffer` with the bytes from `offset` of the data."""
        done = 0
        while done < len(buffer):
            try:
                read = os.preadv(self._file, [buffer[done:].data], self._start + offset + done)
            except OSError as error:
                raise self._unreadable(str(error.strerror)) from None
            if not read:
                raise self._unreadable("it is truncated")
            done += read

    def _unreadable(self, why: str) -> DataError:
        return DataError(f"{self.path} cannot be read", why, "run the command again: a damaged store is rebuilt")

"""Samples of a store, gathered by index onto the training device: cast, flip, scaling and memory format in one place.

A small set is kept on the device as uint8, so that a batch costs one gather and one scaling there. A larger one stays
in the file of the store; its batches are read image by image into host memory, pinned if the device is CUDA. A set is
resident if its uint8 images take at most half of the free memory of a CUDA device when the set is opened, or a quarter
of the host's available RAM, divided among the processes of a run. Labels are always in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from genlab.data.store.memory import free_memory
from genlab.data.store.stored_array import StoredArray
from genlab.distributed.ranks import from_environment
from genlab.errors import ConfigError, nearest

Gathered = tuple[Tensor, ...]

RESIDENT_FRACTION = {"cuda": 1 / 2}  # of the free memory of the device
RESIDENT_FRACTION_HOST = 1 / 4  # the page cache and other programs need memory too


def fits(nbytes: int, device: torch.device) -> bool:
    """Whether a set of `nbytes` is kept on the device."""
    host = RESIDENT_FRACTION_HOST / (from_environment().local_world_size or 1)
    return nbytes <= RESIDENT_FRACTION.get(device.type, host) * free_memory(device)


class Table:
    """Columns of N samples: uint8 images (N, C, H, W) and labels, all of them on the device if `resident`.

    A column is a tensor or an array of a store. If not resident, images stay where they are and labels are on the host.
    Columns of four dimensions are images if they are uint8; float32 ones (points, as images of one pixel) are passed
    to models unchanged.
    """

    aligned = True  # whether the images of a pair show the same thing
    factor_names: tuple[str, ...] = ()  # of the column `factors`, indices of the values of known factors (N, F)

    def __init__(
        self, name: str, columns: Mapping[str, Tensor | StoredArray], device: torch.device, resident: bool
    ) -> None:
        self.name, self.device, self.resident = name, device, resident
        self.home = device if resident else torch.device("cpu")
        # the file behind the columns, to compare with its hashes while training; a table of the same file copies this
        self.stored = next((v for v in columns.values() if isinstance(v, StoredArray) and v.blocks), None)
        self.columns = {k: v if len(v.shape) == 4 and not resident else self._load(v) for k, v in columns.items()}

    def _load(self, column: Tensor | StoredArray) -> Tensor:
        return column.load(self.home) if isinstance(column, StoredArray) else column.to(self.home)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that can be read."""
        return tuple(self.columns)

    def check(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self.names:
                raise ConfigError(
                    f"data set '{self.name}' has no column '{column}'",
                    f"it has: {', '.join(self.names)}",
                    nearest(column, self.names),
                )

    def gather(self, indices: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        """Raw columns at `indices` (on the table's home), followed by `flips` unless None."""
        gathered = tuple(self._take(self.columns[column], indices) for column in columns)
        return (*gathered, flips) if flips is not None else gathered

    def _take(self, source: Tensor | StoredArray, indices: Tensor) -> Tensor:
        if self.resident:
            assert not isinstance(source, StoredArray)
            return source.index_select(0, indices)
        # torch caches pinned blocks and reuses one only after the copies from it have finished
        pinned = self.device.type == "cuda"
        out = torch.empty((len(indices), *source.shape[1:]), dtype=source.dtype, pin_memory=pinned)
        if isinstance(source, StoredArray):
            return source.take(indices, out)
        return torch.index_select(source, 0, indices, out=out)

    def finish(
        self,
        gathered: Gathered,
        columns: Sequence[str],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Gathered:
        """Gathered columns on the device as models take them; images in `memory_format`."""
        if not self.resident:
            pinned = self.device.type == "cuda"
            gathered = tuple(column.to(self.device, non_blocking=pinned) for column in gathered)
        flips = gathered[len(columns)] if len(gathered) > len(columns) else None
        return tuple(
            _image(raw, flips, memory_format) if raw.ndim == 4 else _label(raw)
            for _, raw in zip(columns, gathered, strict=False)
        )

    def read(self, indices: Tensor, columns: Sequence[str]) -> Gathered:
        return self.finish(self.gather(indices, None, columns), columns)


def _image(raw: Tensor, flips: Tensor | None, memory_format: torch.memory_format) -> Tensor:
    """uint8 (B, C, H, W) to float32 in [0, 1], those with `flips` (B,) mirrored; float32 unchanged."""
    if raw.dtype == torch.float32:
        return raw
    if flips is not None:
        raw = torch.where(flips[:, None, None, None], raw.flip(-1), raw)
    if raw.is_cuda:  # one kernel casts, scales and lays out; on a CPU this would be slower
        scaled = torch.empty(raw.shape, dtype=torch.float32, device=raw.device, memory_format=memory_format)
        return torch.mul(raw, 1 / 255, out=scaled)
    return raw.to(torch.float32).mul_(1 / 255).contiguous(memory_format=memory_format)


def _label(raw: Tensor) -> Tensor:
    """Classes stay int64 (B,); attributes uint8 (B, A) become float32 0 or 1."""
    return raw if raw.dtype == torch.int64 else raw.to(torch.float32)

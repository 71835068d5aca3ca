"""The rows of a store, gathered by number onto the training device: cast, flip, scaling and layout in one place.

A small set lies on the device as uint8, so that a batch costs one gather and one scaling there. A larger one stays in
the store's file; its batches are read row by row into host memory, pinned where they are bound for a CUDA device.
Rule: resident if the uint8 images are at most half of a CUDA device's free memory when the set is opened, or a quarter
of the host's available RAM, shared by the processes of a run on it. Labels are always in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from genlab.data.store.memory import free_memory
from genlab.data.store.rows import StoredRows
from genlab.errors import ConfigError, nearest

Gathered = tuple[Tensor, ...]

RESIDENT_SHARE = {"cuda": 1 / 2}  # of the device's free memory
RESIDENT_SHARE_HOST = 1 / 4  # the page cache, and other programs, want theirs


def fits(nbytes: int, device: torch.device) -> bool:
    """Whether a set of `nbytes` is kept on the device."""
    share = RESIDENT_SHARE.get(device.type, RESIDENT_SHARE_HOST / int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    return nbytes <= share * free_memory(device)


class Table:
    """Columns of N rows: uint8 images (N, C, H, W) and labels; all of them on the device if `resident`.

    A column is a tensor, or the rows of a store. Otherwise images stay where they are and labels are on the host.
    Columns of four dimensions are images if they are uint8; float32 ones (points, as images of one pixel) are given
    to models as they are.
    """

    aligned = True  # whether the pictures of a row belong together

    def __init__(
        self, name: str, columns: Mapping[str, Tensor | StoredRows], device: torch.device, resident: bool
    ) -> None:
        self.name, self.device, self.resident = name, device, resident
        self.home = device if resident else torch.device("cpu")
        self.columns = {k: v if len(v.shape) == 4 and not resident else self._load(v) for k, v in columns.items()}

    def _load(self, column: Tensor | StoredRows) -> Tensor:
        return column.load(self.home) if isinstance(column, StoredRows) else column.to(self.home)

    @property
    def names(self) -> tuple[str, ...]:
        """What may be asked for."""
        return tuple(self.columns)

    def check(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self.names:
                raise ConfigError(
                    f"data set '{self.name}' has no column '{column}'",
                    f"it has: {', '.join(self.names)}",
                    nearest(column, self.names),
                )

    def gather(self, rows: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        """Raw columns at `rows` (on the table's home), and then `flips` if there are any."""
        gathered = tuple(self._take(self.columns[column], rows) for column in columns)
        return (*gathered, flips) if flips is not None else gathered

    def _take(self, source: Tensor | StoredRows, rows: Tensor) -> Tensor:
        if self.resident:
            assert not isinstance(source, StoredRows)
            return source.index_select(0, rows)
        # torch keeps pinned blocks for reuse, and reuses none before the copies from it have arrived
        pinned = self.device.type == "cuda"
        out = torch.empty((len(rows), *source.shape[1:]), dtype=source.dtype, pin_memory=pinned)
        if isinstance(source, StoredRows):
            return source.take(rows, out)
        return torch.index_select(source, 0, rows, out=out)

    def finish(
        self,
        gathered: Gathered,
        columns: Sequence[str],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Gathered:
        """Gathered columns on the device in the form that models take; images in `memory_format`."""
        if not self.resident:
            pinned = self.device.type == "cuda"
            gathered = tuple(column.to(self.device, non_blocking=pinned) for column in gathered)
        flips = gathered[len(columns)] if len(gathered) > len(columns) else None
        return tuple(
            _picture(raw, flips, memory_format) if raw.ndim == 4 else _label(raw)
            for _, raw in zip(columns, gathered, strict=False)
        )

    def read(self, rows: Tensor, columns: Sequence[str]) -> Gathered:
        return self.finish(self.gather(rows, None, columns), columns)


def _picture(raw: Tensor, flips: Tensor | None, memory_format: torch.memory_format) -> Tensor:
    """uint8 (B, C, H, W) to float32 in [0, 1], those with `flips` (B,) mirrored; float32 as it is."""
    if raw.dtype == torch.float32:
        return raw
    if flips is not None:
        raw = torch.where(flips[:, None, None, None], raw.flip(-1), raw)
    if raw.is_cuda:  # one kernel casts, scales and lays out; on a CPU it would be the slower way
        scaled = torch.empty(raw.shape, dtype=torch.float32, device=raw.device, memory_format=memory_format)
        return torch.mul(raw, 1 / 255, out=scaled)
    return raw.to(torch.float32).mul_(1 / 255).contiguous(memory_format=memory_format)


def _label(raw: Tensor) -> Tensor:
    """Class numbers stay int64 (B,); attributes uint8 (B, A) become float32 0 or 1."""
    return raw if raw.dtype == torch.int64 else raw.to(torch.float32)

"""What training and evaluation read: columns of a store, gathered by row number onto the training device.

Small sets live on the device as uint8, so that a step costs one gather and one scaling; larger ones are gathered
from the memory-mapped store on the host. Rule: resident if the set's uint8 bytes are at most a quarter of the
device's free memory when it is opened (on the host: of the available RAM).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genlab.data.order import Order
from genlab.errors import ConfigError, nearest
from genlab.model import Shape

Gathered = tuple[Tensor, ...]


class Table:
    """The rows of a store: uint8 images (N, C, H, W) and labels, on the device (`resident`) or on the host."""

    def __init__(self, name: str, columns: dict[str, Tensor], device: torch.device, resident: bool) -> None:
        self.name, self.device, self.resident = name, device, resident
        home = device if resident else torch.device("cpu")
        # clone: a resident set must not depend on the memory map staying as it is
        self.columns = {k: v.to(home, copy=True) if resident else v for k, v in columns.items()}
        self.home = home

    def check(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self.columns:
                raise ConfigError(
                    f"data set '{self.name}' has no column '{column}'",
                    f"it has: {', '.join(self.columns)}",
                    nearest(column, self.columns),
                )

    def gather(self, rows: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        """Raw columns at `rows` (on the table's home), in pinned memory if they are bound for a CUDA device."""
        pinned = not self.resident and self.device.type == "cuda"
        gathered = []
        for column in columns:
            source = self.columns[column]
            if pinned:
                taken = torch.empty((len(rows), *source.shape[1:]), dtype=source.dtype, pin_memory=True)
                torch.index_select(source, 0, rows, out=taken)
            else:
                taken = source.index_select(0, rows)
            gathered.append(taken)
        return (*gathered, flips) if flips is not None else tuple(gathered)

    def finish(
        self, gathered: Gathered, columns: Sequence[str], layout: torch.memory_format = torch.contiguous_format
    ) -> Gathered:
        """Gathered columns on the device in the form that models take, images in memory as `layout` says."""
        if not self.resident:
            gathered = tuple(column.to(self.device, non_blocking=True) for column in gathered)
        flips = gathered[len(columns)] if len(gathered) > len(columns) else None
        return tuple(_form(t, column, flips, layout) for column, t in zip(columns, gathered, strict=False))

    def read(self, rows: Tensor, columns: Sequence[str]) -> Gathered:
        return self.finish(self.gather(rows, None, columns), columns)


def _form(raw: Tensor, column: str, flips: Tensor | None, layout: torch.memory_format) -> Tensor:
    """Images uint8 to float32 in [0, 1]; class numbers stay int64; attributes uint8 (N, A) to float32 0 or 1."""
    if column != "image":
        return raw if raw.dtype == torch.int64 else raw.to(torch.float32)
    if flips is not None:
        raw = torch.where(flips[:, None, None, None], raw.flip(-1), raw)
    return raw.to(torch.float32, memory_format=layout).mul_(1 / 255)


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, in a fixed order."""

    name: str
    table: Table
    rows: Tensor  # int64, on the table's home

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, columns: Sequence[str], batch_size: int) -> Iterator[Gathered]:
        """Every row once, in order; the last batch may be smaller."""
        self.table.check(columns)
        for rows in self.rows.split(batch_size):
            yield self.table.read(rows, columns)

    def first(self, n: int, columns: Sequence[str]) -> Gathered:
        """The first n rows (all if there are fewer)."""
        self.table.check(columns)
        return self.table.read(self.rows[:n], columns)


class Batches:
    """The training order over one split, cut into global batches of `batch_size` shared by `world` ranks.

    Position p of an endless stream is image p mod N of epoch p // N's permutation; step s holds positions
    s·batch_size onwards. Rank r, part k hold their own consecutive slice of them, so that all ranks and parts
    together are the batch that one process would see.
    """

    def __init__(
        self, split: Split, order: Order, columns: Sequence[str], batch_size: int, rank: int = 0, world: int = 1
    ) -> None:
        split.table.check(columns)
        self._table, self._order, self._columns = split.table, order, tuple(columns)
        self._batch_size, self._rank, self._world = batch_size, rank, world
        self.layout: torch.memory_format = torch.contiguous_format  # of images in memory: the trainer's choice
        self.per_epoch = len(split) / batch_size
        self._ahead: tuple[tuple[int, int, int], Future[Gathered]] | None = None
        self._share(1)

    def at(self, step: int, part: int = 0, parts: int = 1) -> Gathered:
        """Columns of this rank's `part` of `parts` of the batch of `step`: batch_size/(world·parts) rows."""
        if self._table.resident or self._table.device.type != "cuda":
            return self._table.finish(self._gather(step, part, parts), self._columns, self.layout)
        return self._table.finish(self._gather_ahead(step, part, parts), self._columns, self.layout)

    def _share(self, parts: int) -> int:
        share, rest = divmod(self._batch_size, self._world * parts)
        if rest or not share:
            raise ConfigError(
                f"a batch of {self._batch_size} cannot be shared by {self._world} process(es) x {parts} part(s)",
                "key trainer.batch_size",
                f"make it a multiple of {self._world * parts}",
            )
        return share

    def _gather(self, step: int, part: int, parts: int) -> Gathered:
        share = self._share(parts)
        start = step * self._batch_size + (self._rank * parts + part) * share
        rows, flips = self._order.take(start, share)
        return self._table.gather(rows, flips, self._columns)

    @cached_property
    def _reader(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="genlab-data")

    def _gather_ahead(self, step: int, part: int, parts: int) -> Gathered:
        """As `_gather`, with the next batch read from the disk by a thread while the device works on this one."""
        wanted = (step, part, parts)
        pending, self._ahead = self._ahead, None
        current = pending[1] if pending and pending[0] == wanted else self._reader.submit(self._gather, *wanted)
        following = (step, part + 1, parts) if part + 1 < parts else (step + 1, 0, parts)
        gathered = current.result()
        self._ahead = following, self._reader.submit(self._gather, *following)
        return gathered


class Data:
    """An opened data set: its facts, its splits and its training order.

    `shape` is (C, H, W); `num_classes` the number of label classes (of attributes if `multi_label`), None without
    labels; `fingerprint` a sha256 of the source's and the splits' facts; `nbytes` the images' uint8 bytes.
    """

    def __init__(
        self,
        table: Table,
        splits: dict[str, Tensor],
        label_names: list[str] | None,
        fingerprint: str,
        seed: int,
        flip: bool,
    ) -> None:
        images, labels = table.columns["image"], table.columns.get("label")
        channels, height, width = images.shape[1:]
        self.name, self.resident = table.name, table.resident
        self.shape: Shape = (channels, height, width)
        self.nbytes = images.numel()
        self.multi_label = labels is not None and labels.ndim == 2
        self.label_names = label_names
        self.num_classes = None if label_names is None else len(label_names)
        self.fingerprint = fingerprint
        self._table, self._seed, self._flip = table, seed, flip
        self._splits = {name: rows.to(table.home) for name, rows in splits.items()}

    def sizes(self) -> dict[str, int]:
        """The number of images in each split."""
        return {name: len(rows) for name, rows in self._splits.items()}

    def split(self, name: str) -> Split:
        """`train`, `valid` or `test`; ConfigError if the data set has no image in it."""
        if name not in self._splits:
            raise ConfigError(f"unknown split '{name}'", f"data set '{self.name}'", nearest(name, self._splits))
        if not len(self._splits[name]):
            raise ConfigError(
                f"data set '{self.name}' has no image in its {name} split",
                "keys dataset.valid, dataset.test",
                "give that split a size, or use another split",
            )
        return Split(name, self._table, self._splits[name])

    def batches(self, columns: Sequence[str], batch_size: int, rank: int = 0, world: int = 1) -> Batches:
        """The training order over the train split; `batch_size` counts the rows of all ranks together."""
        train = self.split("train")
        order = Order(train.rows, self._seed, self._flip)
        return Batches(train, order, columns, batch_size, rank, world)

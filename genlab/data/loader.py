"""What training and evaluation read: the splits of a set, and the training order cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.core.model import Shape
from genlab.data.prefetch import Ahead
from genlab.data.sampler import Order
from genlab.data.store.table import Gathered, Table
from genlab.errors import ConfigError, nearest


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split, in a fixed order."""

    name: str
    table: Table
    rows: Tensor  # int64, on the table's home
    sibling: Callable[[str], Split]  # another split of the same data, as Data.split

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def points(self) -> bool:
        """Whether its images are points of any range, of one pixel each, not pictures."""
        return self.table.columns["image"].dtype == torch.float32

    def batches(self, columns: Sequence[str], batch_size: int, first: int = 0, every: int = 1) -> Iterator[Gathered]:
        """The rows in order, the last batch perhaps smaller; of these batches `first` and each `every`-th after it."""
        self.table.check(columns)
        for rows in self.rows.split(batch_size)[first::every]:
            yield self.table.read(rows, columns)

    def first(self, n: int, columns: Sequence[str]) -> Gathered:
        """The first n rows (all if there are fewer)."""
        self.table.check(columns)
        return self.table.read(self.rows[:n], columns)

    def classes(self) -> Tensor | None:
        """The class (N,) of each row, int64, on the host; None without labels or with several attributes an image."""
        labels = self.table.columns.get("label")
        if not isinstance(labels, Tensor) or labels.ndim != 1:
            return None
        return labels[self.rows.to(labels.device)].cpu()


class Batches:
    """The training order over one split, cut into global batches of `batch_size` shared by `world_size` ranks.

    Position p of an endless stream is image p mod N of epoch p // N's permutation; step s holds positions
    s·batch_size onwards. Rank r, part k hold their own consecutive slice of them, so that all ranks and parts
    together are the batch that one process would see.
    """

    def __init__(
        self,
        split: Split,
        order: Order,
        columns: Sequence[str],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        split.table.check(columns)
        self._table, self._order, self._columns = split.table, order, tuple(columns)
        self._batch_size, self._rank, self._world = batch_size, rank, world_size
        self._memory_format = memory_format
        self._ahead = Ahead(self._host_batch)
        self.per_epoch = len(split) / batch_size
        self.end: int | None = None  # the number of steps, if it is known: nothing is read for later ones
        self.share(1)

    def at(self, step: int, part: int = 0, parts: int = 1) -> Gathered:
        """Columns of this rank's `part` of `parts` of the batch of `step`: batch_size/(world_size·parts) rows.

        DataError if a set that is not resident cannot be read.
        """
        share = self.share(parts)
        if self._table.resident:
            gathered = self._gather(step, part * share, share)
        else:
            batch = self._ahead.take(step, self.end)
            gathered = tuple(column[part * share : (part + 1) * share] for column in batch)
        return self._table.finish(gathered, self._columns, self._memory_format)

    def close(self) -> None:
        """End the thread that reads ahead, if there is one; a later `at` starts another."""
        self._ahead.close()

    def share(self, parts: int) -> int:
        """The rows of one part of this rank's share; ConfigError if the batch cannot be cut so."""
        share, rest = divmod(self._batch_size, self._world * parts)
        if rest or not share:
            raise ConfigError(
                f"a batch of {self._batch_size} cannot be shared by {self._world} process(es) x {parts} part(s)",
                "key trainer.batch_size",
                f"make it a multiple of {self._world * parts}",
            )
        return share

    def _gather(self, step: int, first: int, count: int) -> Gathered:
        """`count` rows of this rank's share of the batch of `step`, from the `first` of them on."""
        rows, flips = self._order.take(step * self._batch_size + self._rank * self.share(1) + first, count)
        return self._table.gather(rows, flips, self._columns)

    def _host_batch(self, step: int) -> Gathered:
        """This rank's whole share of a step, so that parts, and phases that draw anew, read nothing twice."""
        return self._gather(step, 0, self.share(1))


class Data:
    """An opened data set: its facts, its splits and its training order.

    `columns` are the names of its columns; `shape` is (C, H, W); `num_classes` the number of label classes (of
    attributes if `multi_label`), None without labels; `fingerprint` a sha256 of the source's and the splits' facts;
    `nbytes` the images' uint8 bytes; `points` says that images are points of any range, of one pixel each; `aligned`
    that the pictures of a row belong together.
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
        self.name, self.resident, self.aligned = table.name, table.resident, table.aligned
        self.columns = table.names
        self.shape: Shape = (channels, height, width)
        self.nbytes = images.shape.numel()
        self.points = images.dtype == torch.float32
        self.multi_label = labels is not None and len(labels.shape) == 2
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
                f"its sizes: {', '.join(f'{each} {len(rows)}' for each, rows in self._splits.items())}",
                "give that split a size, or use another split",
            )
        return Split(name, self._table, self._splits[name], self.split)

    def batches(
        self,
        columns: Sequence[str],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Batches:
        """The training order over the train split; `batch_size` counts the rows of all ranks together.

        `memory_format` is the layout in which images come, so that a channels-last model need not convert them.
        """
        train = self.split("train")
        return Batches(train, self.order(train.rows), columns, batch_size, rank, world_size, memory_format)

    def order(self, rows: Tensor) -> Order:
        """The endless stream of epochs over the training rows."""
        return Order(rows, self._seed, self._flip)

"""Splits of a data set, and batches of training data in random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genlab.core.data_spec import DataSpec
from genlab.data.prefetch import Prefetcher
from genlab.data.rolling_check import RollingCheck
from genlab.data.sampler import Order
from genlab.data.splits import drawn_order
from genlab.data.store.table import Gathered, Table
from genlab.errors import ConfigError, nearest


@dataclass(frozen=True, eq=False)
class Split:
    """The samples of one split, in a fixed order."""

    name: str
    table: Table
    indices: Tensor  # of the samples in the table: int64, on the table's home
    sibling: Callable[[str], Split]  # another split of the same data, as Data.split
    seed: int = 0  # of `drawn`

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def points(self) -> bool:
        """Whether its images are points of any range, of one pixel each."""
        return self.table.columns["image"].dtype == torch.float32

    def batches(self, columns: Sequence[str], batch_size: int, first: int = 0, every: int = 1) -> Iterator[Gathered]:
        """Batches in order, the last one perhaps smaller: batch number `first`, and every `every`-th after it."""
        self.table.check(columns)
        for indices in self.indices.split(batch_size)[first::every]:
            yield self.table.read(indices, columns)

    def drawn(self, n: int) -> Split:
        """n samples, drawn by the seed, with the class proportions of the split if it has classes.

        The samples of a smaller draw are the first of a larger one. The split itself, in order, if it has no more.
        """
        if len(self) <= n:
            return self
        classes = self.classes()
        order = drawn_order(len(self), None if classes is None else classes.numpy(), self.seed)
        return replace(self, indices=self.indices[torch.from_numpy(order[:n]).to(self.indices.device)])

    def take(self, n: int, columns: Sequence[str]) -> Gathered:
        """The columns of `drawn(n)`."""
        self.table.check(columns)
        return self.table.read(self.drawn(n).indices, columns)

    def classes(self) -> Tensor | None:
        """The class int64 (N,) of each sample, on the host; None without labels or with attributes."""
        labels = self.table.columns.get("label")
        if not isinstance(labels, Tensor) or labels.ndim != 1:
            return None
        return labels[self.indices.to(labels.device)].cpu()


class Batches:
    """The training order over one split, cut into global batches of `batch_size` divided among `world_size` ranks.

    Position p of an endless stream is image p mod N of the permutation of epoch p // N; step s has the positions from
    s·batch_size on. Each part of each rank takes a consecutive slice of them, so that all ranks and parts together see
    the batch that a single process would see.
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
        self._prefetcher = Prefetcher(self._host_batch)
        self._check = RollingCheck.on_this_host(split.table.stored) if split.table.stored else None
        self.per_epoch = len(split) / batch_size
        self.end: int | None = None  # the number of steps if known: nothing is read for later ones
        self.local_batch_size(1)

    def at(self, step: int, part: int = 0, parts: int = 1) -> Gathered:
        """Columns of one of the `parts` of this rank's batch of `step`: batch_size/(world_size·parts) samples.

        DataError if a set that is not resident cannot be read, or a block of its store has changed.
        """
        if self._check:
            self._check.advance(step)
        n = self.local_batch_size(parts)
        if self._table.resident:
            gathered = self._gather(step, part * n, n)
        else:
            batch = self._prefetcher.take(step, self.end)
            gathered = tuple(column[part * n : (part + 1) * n] for column in batch)
        return self._table.finish(gathered, self._columns, self._memory_format)

    def close(self) -> None:
        """End the threads that read, if there are any; a later `at` starts others."""
        self._prefetcher.close()
        if self._check:
            self._check.close()

    def local_batch_size(self, parts: int) -> int:
        """The samples of one part of this rank's batch; ConfigError if the batch cannot be divided evenly."""
        n, rest = divmod(self._batch_size, self._world * parts)
        if rest or not n:
            raise ConfigError(
                f"a batch of {self._batch_size} cannot be divided among {self._world} process(es) x {parts} part(s)",
                "key trainer.batch_size",
                f"make it a multiple of {self._world * parts}",
            )
        return n

    def _gather(self, step: int, first: int, count: int) -> Gathered:
        """`count` samples of this rank's batch of `step`, beginning with number `first`."""
        start = step * self._batch_size + self._rank * self.local_batch_size(1) + first
        indices, flips = self._order.take(start, count)
        return self._table.gather(indices, flips, self._columns)

    def _host_batch(self, step: int) -> Gathered:
        """This rank's whole batch of a step, kept so that parts and phases need not read it again."""
        return self._gather(step, 0, self.local_batch_size(1))


class Data(DataSpec):
    """An opened data set: its specification, its splits and its training order.

    `fingerprint` is a sha256 of everything that decides about the images that training sees; `nbytes` the size of the
    images as uint8; `resident` says whether they are kept on the device. `split_seed` decides which images an evaluator
    or a command takes that reads some of a split.
    """

    def __init__(
        self,
        table: Table,
        splits: dict[str, Tensor],
        label_names: list[str] | None,
        fingerprint: str,
        seed: int,
        flip: bool,
        split_seed: int = 0,
    ) -> None:
        images, labels = table.columns["image"], table.columns.get("label")
        channels, height, width = images.shape[1:]
        several = labels is not None and len(labels.shape) == 2
        points = images.dtype == torch.float32
        super().__init__(
            table.name, (channels, height, width), table.names, label_names, several, points, table.aligned
        )
        self.resident, self.nbytes, self.fingerprint = table.resident, images.shape.numel(), fingerprint
        self.table, self._seed, self._flip, self.split_seed = table, seed, flip, split_seed
        self._splits = {name: indices.to(table.home) for name, indices in splits.items()}

    def sizes(self) -> dict[str, int]:
        """The number of images in each split."""
        return {name: len(indices) for name, indices in self._splits.items()}

    def split(self, name: str) -> Split:
        """`train`, `valid` or `test`; ConfigError if it is empty."""
        if name not in self._splits:
            raise ConfigError(f"unknown split '{name}'", f"data set '{self.name}'", nearest(name, self._splits))
        if not len(self._splits[name]):
            raise ConfigError(
                f"data set '{self.name}' has no image in its {name} split",
                f"its sizes: {', '.join(f'{each} {n}' for each, n in self.sizes().items())}",
                f"train with dataset.{name}=0.1, or choose another split where there is a key for it",
            )
        return Split(name, self.table, self._splits[name], self.split, self.split_seed)

    def batches(
        self,
        columns: Sequence[str],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Batches:
        """The training order over the train split; `batch_size` counts the samples of all ranks together.

        `memory_format` is the memory format of the images, so that a channels-last model need not convert them.
        """
        train = self.split("train")
        return Batches(train, self.order(train.indices), columns, batch_size, rank, world_size, memory_format)

    def order(self, indices: Tensor) -> Order:
        """The endless stream of epochs over the training samples."""
        return Order(indices, self._seed, self._flip)

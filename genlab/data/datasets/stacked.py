"""Stacked MNIST: three digits as the three channels of a picture, so that 1,000 modes can be counted.

Metz, Poole, Pfau & Sohl-Dickstein, Unrolled Generative Adversarial Networks, ICLR 2017 (arXiv:1611.02163), 3.3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from genlab.data.dataset import Dataset
from genlab.data.datasets.mnist import MNIST
from genlab.data.loader import Data
from genlab.data.sampler import generator
from genlab.data.splits import Held, Rows
from genlab.data.store.hashing import facts_hash
from genlab.data.store.rows import StoredRows
from genlab.data.store.store import Show, Source, Store
from genlab.data.store.table import Table
from genlab.registry import DATASETS, NonNegativeInt, PositiveInt

CHANNELS = 3


class Stacks:
    """The rows of a picture column (N, 1, H, W) stacked by threes: row i is channels `triples[i]`; nothing is copied.

    As much of a tensor (M, 3, H, W) as a resident table asks for.
    """

    def __init__(self, digits: Tensor, triples: Tensor) -> None:
        self.digits, self.triples = digits, triples
        self.shape = torch.Size((len(triples), CHANNELS, *digits.shape[2:]))
        self.dtype, self.ndim = digits.dtype, len(self.shape)

    def to(self, device: torch.device) -> Stacks:
        return Stacks(self.digits.to(device), self.triples.to(device))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        chosen = self.triples.index_select(dim, rows)
        return self.digits.index_select(0, chosen.flatten()).view(len(rows), *self.shape[1:])


@DATASETS("stacked_mnist")
class StackedMNIST(Dataset):
    """Triples of MNIST's digits, drawn by seed from the digits of the same split; the label is the number they spell.

    The first channel is the hundreds. Digits lie in memory once, uint8, whatever the number of triples.
    """

    name = "stacked_mnist"
    unfit = "is made of another one already"

    def __init__(
        self,
        root: str | None = None,
        size: PositiveInt | None = 32,
        digits: Held = 5000,
        n: PositiveInt = 128_000,
        valid: NonNegativeInt = 10_000,
        test: NonNegativeInt = 10_000,
        seed: int = 0,
    ) -> None:
        self.mnist = MNIST(root=root, size=size, valid=digits, seed=seed)
        self.mnist.key = lambda name: self.key("digits" if name == "valid" else name)
        self.counts = {"train": n, "valid": valid, "test": test}
        super().__init__(self.mnist.options)

    def files(self) -> Sequence[Path]:
        return self.mnist.files()

    def read(self) -> Source:
        return self.mnist.read()

    def prepare(self, show: Show | None = None, verify: bool = False) -> Store:
        """MNIST's own store: stacks are made of it row by row."""
        return self.mnist.prepare(show, verify)

    def splits(self, opened: Store) -> dict[str, Rows]:
        """The digits in each split."""
        return self.mnist.splits(opened)

    def open(self, device: torch.device, show: Show | None = None) -> Data:
        opened = self.prepare(show)
        assert opened.labels is not None
        drawn = {name: self._triples(rows, name) for name, rows in self.splits(opened).items()}
        triples = torch.cat(list(drawn.values()))
        labels = torch.tensor(opened.labels)[triples] @ torch.tensor([100, 10, 1])
        stacks = Stacks(StoredRows(opened.images).load(device), triples)
        rows = torch.arange(len(triples)).split([len(each) for each in drawn.values()])
        return Data(
            Table(self.name, {"image": cast("Tensor", stacks), "label": labels}, device, resident=True),
            dict(zip(drawn, rows, strict=True)),
            [f"{number:03}" for number in range(10**CHANNELS)],
            self._hash(),
            self.options.seed,
            flip=False,
        )

    def _triples(self, rows: Rows, split: str) -> Tensor:
        """Row numbers (n, 3) of digits of a split, drawn independently; none of a split without digits."""
        source = generator(self.options.seed, self.name, split)
        n = self.counts[split] if len(rows) else 0
        drawn = torch.randint(max(1, len(rows)), (n, CHANNELS), generator=source)
        return torch.from_numpy(rows)[drawn]

    def _hash(self) -> str:
        facts = {"stacked": self.mnist._fingerprint(self.mnist._facts()), **self.counts}
        return facts_hash(facts)

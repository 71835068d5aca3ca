"""Stacked MNIST: three digits as the three channels of an image, so that 1,000 modes can be counted.

Metz, Poole, Pfau & Sohl-Dickstein, Unrolled Generative Adversarial Networks, ICLR 2017 (arXiv:1611.02163), 3.3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from genlab.data.datasets.mnist import MNIST
from genlab.data.derived import Derived
from genlab.data.loader import Data
from genlab.data.sampler import generator
from genlab.data.splits import Held, Indices
from genlab.data.store.hashing import json_hash
from genlab.data.store.store import Progress
from genlab.data.store.stored_array import StoredArray
from genlab.data.store.table import Table
from genlab.registry import DATASETS, NonNegativeInt, PositiveInt

CHANNELS = 3


class Stacks:
    """Images (M, 3, H, W) whose channels are the digits at indices `triples` (M, 3) of (N, 1, H, W), stacked when read.

    It has the part of the interface of a tensor that a resident table needs.
    """

    def __init__(self, digits: Tensor, triples: Tensor) -> None:
        self.digits, self.triples = digits, triples
        self.shape = torch.Size((len(triples), CHANNELS, *digits.shape[2:]))
        self.dtype, self.ndim = digits.dtype, len(self.shape)

    def to(self, device: torch.device) -> Stacks:
        return Stacks(self.digits.to(device), self.triples.to(device))

    def index_select(self, dim: int, indices: Tensor) -> Tensor:
        chosen = self.triples.index_select(dim, indices)
        return self.digits.index_select(0, chosen.flatten()).view(len(indices), *self.shape[1:])


@DATASETS("stacked_mnist")
@dataclass(kw_only=True)
class StackedMNIST(Derived):
    """Triples of MNIST's digits, drawn by `split_seed` from the digits of the same split; the label is their number.

    The first channel is the hundreds. Digits are kept in memory once, uint8, whatever the number of triples.
    """

    name = "stacked_mnist"
    not_a_base = "is made of another one already"

    root: str | None = None
    size: PositiveInt | None = 32
    digits: Held = 5000
    n: PositiveInt = 128_000
    valid: NonNegativeInt = 10_000
    test: NonNegativeInt = 10_000

    def __post_init__(self) -> None:
        self.inner = MNIST(root=self.root, size=self.size, valid=self.digits, split_seed=self.split_seed)
        self.inner.key = lambda name: self.key("digits" if name == "valid" else name)

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        stored = self.prepare(progress)
        assert stored.labels is not None
        counts = {"train": self.n, "valid": self.valid, "test": self.test}
        drawn = {name: self._triples(digits, name, counts[name]) for name, digits in self.inner.splits(stored).items()}
        triples = torch.cat(list(drawn.values()))
        labels = torch.tensor(stored.labels)[triples] @ torch.tensor([100, 10, 1])
        images = StoredArray(stored.images, stored.blocks)
        stacks = Stacks(images.load(device), triples)
        indices = torch.arange(len(triples)).split([len(each) for each in drawn.values()])
        table = Table(self.name, {"image": cast("Tensor", stacks), "label": labels}, device, resident=True)
        table.stored = images if images.blocks else None
        return Data(
            table,
            dict(zip(drawn, indices, strict=True)),
            [f"{number:03}" for number in range(10**CHANNELS)],
            json_hash({"stacked": self.inner.fingerprint, **counts}),
            self.seed,
            flip=False,
            split_seed=self.split_seed,
        )

    def _triples(self, digits: Indices, split: str, n: int) -> Tensor:
        """Indices (n, 3) of digits of a split, drawn independently; none if the split has no digits."""
        source = generator(self.split_seed, self.name, split)
        drawn = torch.randint(max(1, len(digits)), (n if len(digits) else 0, CHANNELS), generator=source)
        return torch.from_numpy(digits)[drawn]

"""Images sampled by earlier runs, mixed with a fraction of real ones: training on the output of models.

Alemohammad et al., Self-Consuming Generative Models Go MAD, ICLR 2024 (arXiv:2307.01850). Shumailov et al., AI models
collapse when trained on recursively generated data, Nature 631 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor

from genlab.core.data_spec import GENERATED, DataSpec
from genlab.data.derived import Derived, split_indices
from genlab.data.loader import Data
from genlab.data.sampler import generator
from genlab.data.store.fingerprint import fingerprint
from genlab.data.store.hashing import json_hash
from genlab.data.store.store import Progress
from genlab.data.store.stored_array import StoredArray
from genlab.data.store.table import Table, fits
from genlab.errors import ConfigError
from genlab.registry import DATASETS, DatasetSpec, Fraction
from genlab.utils.image_file import ARRAYS, read
from genlab.utils.paths import user_file


@DATASETS("generated")
@dataclass(kw_only=True)
class Generated(Derived):
    """As many training images as the set `real`: a random fraction of them its own, the rest from `samples`.

    `samples` are files written by `genlab sample RUN n=... out=FILE.npy`: the first images of one file; of several
    files, random images of all. Validation and test images are those of the real set; its training images are
    the split `real`, with which evaluators compare. There are no labels. All images are held in memory.
    """

    name = "generated"
    not_a_base = "is made of another one already"

    samples: str | Annotated[list[str], MinLen(1)] | None = None
    real: DatasetSpec = "mnist"
    real_fraction: Fraction = 0.0

    def __post_init__(self) -> None:
        self.derive("real", self.real)

    def files(self) -> list[Path]:
        """The files of samples, without those of the real set."""
        names = [self.samples] if isinstance(self.samples, str) else self.samples or []
        if not names:
            raise ConfigError(
                "no samples are named", "key dataset.samples", "genlab sample RUN n=60000 out=samples.npy"
            )
        hint = "genlab sample RUN n=60000 out=FILE.npy"
        return [user_file(name, "key dataset.samples", ARRAYS, hint) for name in names]

    def spec(self, inner: DataSpec) -> DataSpec:
        for path in self.files():
            _read(path, inner.shape)
        return DataSpec(GENERATED + inner.name, inner.shape, ("image",))

    def check(self) -> None:
        self.files()
        super().check()

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        files = self.files()
        data = self.inner.open(torch.device("cpu"), progress)
        real = data.table.columns["image"]
        real = real.load(torch.device("cpu")) if isinstance(real, StoredArray) else real
        generated = torch.cat([_read(path, real.shape[1:]) for path in files])
        images = torch.cat([real, generated])
        table = Table(GENERATED + data.name, {"image": images}, device, fits(images.nbytes, device))
        table.stored = data.table.stored
        splits = split_indices(data)
        train = self._mixed(splits["train"], len(real), len(generated), one_file=len(files) == 1)
        identity = {"real": data.fingerprint, "samples": fingerprint(files), "real_fraction": self.real_fraction,
                    "split_seed": self.split_seed}  # fmt: skip
        return Data(
            table,
            {**splits, "real": splits["train"], "train": train},
            None,
            json_hash(identity),
            self.seed,
            self.inner.flip,
            self.split_seed,
        )

    def _mixed(self, real: Tensor, first: int, available: int, one_file: bool) -> Tensor:
        """The indices to train on: of `real`, and of the `available` samples, which begin at index `first`."""
        kept = round(self.real_fraction * len(real))
        wanted = len(real) - kept
        if wanted > available:
            raise ConfigError(
                f"{wanted} samples are wanted beside {kept} real images, and there are {available}",
                "keys dataset.samples, dataset.real_fraction",
                f"draw more: genlab sample RUN n={wanted}",
            )
        order = torch.randperm(len(real), generator=generator(self.split_seed, "share"))[:kept]
        drawn = torch.arange(wanted)
        if not one_file:
            drawn = torch.randperm(available, generator=generator(self.split_seed, "samples"))[:wanted].sort().values
        return torch.cat([real[order].sort().values, first + drawn])


def _read(path: Path, shape: Sequence[int]) -> Tensor:
    """The samples of a file; ConfigError unless they have the `shape` of the real images."""
    images = read(path)
    if tuple(images.shape[1:]) != tuple(shape):
        raise ConfigError(
            f"the samples are {tuple(images.shape[1:])} and the real images {tuple(shape)}",
            f"keys dataset.samples, dataset.real; file {path}",
            f"give the real set the size of the samples: dataset.real.size={images.shape[-1]}",
        )
    return images

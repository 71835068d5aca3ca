"""Images sampled by earlier runs, mixed with a share of real ones: what a model trained on the web of its kind sees.

Alemohammad et al., Self-Consuming Generative Models Go MAD, ICLR 2024 (arXiv:2307.01850). Shumailov et al., AI models
collapse when trained on recursively generated data, Nature 631 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from torch import Tensor

from genlab.core.data_spec import GENERATED, Facts
from genlab.data.dataset import Dataset, Options
from genlab.data.loader import Data
from genlab.data.sampler import generator
from genlab.data.store.fingerprint import fingerprint
from genlab.data.store.hashing import facts_hash
from genlab.data.store.rows import StoredRows
from genlab.data.store.store import Show, Store
from genlab.data.store.table import Table, fits
from genlab.data.wrapped import inner
from genlab.errors import ConfigError, DataError
from genlab.registry import DATASETS, DatasetSpec, Fraction
from genlab.utils.image_file import ARRAYS, read

MNIST: dict[str, Any] = {"name": "mnist"}


@DATASETS("generated")
class Generated(Dataset):
    """As many training images as the set `real` has: a `share` of them its own, drawn by seed, the rest from `samples`:
    the first of one file, and of several such as are drawn by seed over all.

    `samples` are files that `genlab sample RUN n=... out=FILE.npy` has written. Validation and test images are the real
    set's; its training images are the split `real`, against which evaluators compare. There are no labels. All images
    are held in memory.
    """

    name = "generated"
    unfit = "is made of another one already"

    def __init__(
        self,
        samples: str | Annotated[list[str], MinLen(1)] | None = None,
        real: DatasetSpec = MNIST,
        share: Fraction = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(Options(None, real.get("size"), {}, bool(real.get("flip")), None, seed))
        self.inner = inner("dataset.real", real, seed)
        self.inner.vet = self.judge
        self.share = share
        self.samples = [samples] if isinstance(samples, str) else samples or []

    def files(self) -> list[Path]:
        """The files of samples; those of the real set are its own affair."""
        if not self.samples:
            raise ConfigError(
                "no samples are named", "key dataset.samples", "genlab sample RUN n=60000 out=samples.npy"
            )
        found = [Path(name).expanduser().absolute() for name in self.samples]
        for path in found:
            if path.suffix.lower() not in ARRAYS:
                raise ConfigError(
                    f"{path.name} is no file of images", "key dataset.samples", f"give {', '.join(ARRAYS)}"
                )
            if not path.is_file():
                raise DataError(f"{path} is missing", "key dataset.samples", f"genlab sample RUN n=60000 out={path}")
        return found

    def judge(self, facts: Facts) -> None:
        for path in self.files():
            self._checked(path, facts.shape)
        if self.vet:
            self.vet(Facts(GENERATED + facts.name, facts.shape, ("image",)))

    def check(self) -> None:
        self.files()
        self.inner.check()

    def prepare(self, show: Show | None = None, verify: bool = False) -> Store:
        return self.inner.prepare(show, verify)

    def open(self, device: torch.device, show: Show | None = None) -> Data:
        files = self.files()
        data = self.inner.open(torch.device("cpu"), show)
        real = data.split("train").table.columns["image"]
        real = real.load(torch.device("cpu")) if isinstance(real, StoredRows) else real
        drawn = torch.cat([self._checked(path, real.shape[1:]) for path in files])
        images = torch.cat([real, drawn])
        splits = {name: data.split(name).rows for name, n in data.sizes().items() if n}
        splits |= {"real": splits["train"], "train": self._mixed(splits["train"], len(real), len(drawn))}
        return Data(
            Table(GENERATED + data.name, {"image": images}, device, fits(images.nbytes, device)),
            {"valid": _none(), "test": _none(), **splits},
            None,
            self._identity(data.fingerprint, files),
            self.options.seed,
            self.options.flip,
        )

    def _checked(self, path: Path, shape: Sequence[int]) -> Tensor:
        """The samples of a file; ConfigError unless they are of the real images' `shape`."""
        images = read(path)
        if tuple(images.shape[1:]) != tuple(shape):
            raise ConfigError(
                f"the samples are {tuple(images.shape[1:])} and the real images {tuple(shape)}",
                f"keys dataset.samples, dataset.real; file {path}",
                f"give the real set the samples' size: dataset.real.size={images.shape[-1]}",
            )
        return images

    def _mixed(self, real: Tensor, first: int, drawn: int) -> Tensor:
        """The rows to train on: of `real`, and of the `drawn` samples that begin at row `first`."""
        kept = round(self.share * len(real))
        wanted = len(real) - kept
        if wanted > drawn:
            raise ConfigError(
                f"{wanted} samples are wanted beside {kept} real images, and there are {drawn}",
                "keys dataset.samples, dataset.share",
                f"draw more: genlab sample RUN n={wanted}",
            )
        order = torch.randperm(len(real), generator=generator(self.options.seed, "share"))[:kept]
        return torch.cat([real[order].sort().values, first + self._drawn(wanted, drawn)])

    def _drawn(self, wanted: int, there: int) -> Tensor:
        """Which samples are used: the first of one file; of several, drawn evenly over all by seed."""
        if len(self.samples) == 1:
            return torch.arange(wanted)
        return torch.randperm(there, generator=generator(self.options.seed, "samples"))[:wanted].sort().values

    def _identity(self, real: str, files: list[Path]) -> str:
        facts = {"real": real, "samples": fingerprint(files), "share": self.share, "seed": self.options.seed}
        return facts_hash(facts)


def _none() -> Tensor:
    return torch.empty(0, dtype=torch.int64)

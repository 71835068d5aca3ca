"""Base classes of data sets: from a source of images to splits on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from genlab.core.data_spec import DataSpec
from genlab.data.download import fetch
from genlab.data.loader import Data, Split
from genlab.data.splits import Held, Indices, Key, carve, in_dataset, limited
from genlab.data.store import store
from genlab.data.store.encoded import Files, Zip
from genlab.data.store.fingerprint import fingerprint
from genlab.data.store.hashing import json_hash
from genlab.data.store.image import PROCESSING, Form
from genlab.data.store.store import Progress, Source, Store
from genlab.data.store.stored_array import StoredArray
from genlab.data.store.table import Table, fits
from genlab.data.subsets import Classes, balanced, with_classes
from genlab.errors import ConfigError, DataError
from genlab.registry import NonNegativeInt, PositiveInt
from genlab.utils.paths import data_roots, downloads

__all__ = ["Data", "Dataset", "Files", "Form", "OnError", "Source", "Split", "StoredDataset", "Zip", "fixed"]

OnError = Literal["error", "skip"]


def fixed(value: Any) -> Any:
    """A common key that a data set does not have: always `value`, and refused in the configuration."""
    return field(default=value, init=False)


@dataclass(kw_only=True)
class Dataset:
    """A data set before it is opened. Its fields are the keys of the section `dataset`; `seed` comes from the run.

    `split_seed` decides which images are in each split, `seed` only their order and their mirroring.
    """

    not_a_base: ClassVar[str | None] = None  # why no other data set can be made of this one

    name: str = field(default="", init=False)
    seed: int = 0
    split_seed: NonNegativeInt = 0
    # Called with the specification before anything is decoded; raises GenlabError if a model cannot learn from it.
    validate: Callable[[DataSpec], None] | None = field(default=None, init=False, repr=False)
    key: Key = field(default_factory=lambda: in_dataset, init=False, repr=False)  # a key to its full path

    def files(self) -> Sequence[Path]:
        """The files and folders of the data set; DataError names a missing one and its path."""
        return ()

    def check(self) -> None:
        """DataError if files are missing. Reads no images, so it is fast. Downloads MNIST and Fashion-MNIST."""
        self.files()

    def prepare(self, progress: Progress | None = None, verify: bool = False) -> Store:
        """The decoded store, built if necessary; `verify` compares all of it with its hashes, and repairs it."""
        raise ConfigError(f"data set '{self.name}' needs no preparation", "it is generated", "train on it")

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        """The set, ready to be read on `device`. `progress(done, total)` is called while a store is built."""
        raise NotImplementedError


@dataclass(kw_only=True)
class StoredDataset(Dataset):
    """A data set that is decoded once. A subclass lists its files and reads them.

    A subclass adds a field for each of its own keys, whose values select the store, and replaces keys that it lacks by
    `fixed(value)`. It never contains absolute paths.
    """

    contiguous: ClassVar[bool] = False  # hold out the end of train instead of random images: neighbors look alike
    places: ClassVar[frozenset[str]] = frozenset({"root", "path"})  # keys that say where the files are
    not_in_store: ClassVar[frozenset[str]] = places | frozenset(  # keys that change no pixel of the store
        {"valid", "test", "split_seed", "flip", "limit", "num_labels", "classes", "seed"}
    )

    root: str | None = None
    size: PositiveInt | None = None
    valid: Held = 0.1
    test: Held = 0.1
    flip: bool = False
    limit: PositiveInt | None = None
    num_labels: PositiveInt | None = None
    classes: Classes | None = None
    on_error: OnError | None = fixed(None)  # what happens to unreadable images; None: an error, without a key

    def find(self, what: str, hint: str, *places: str) -> Path:
        """The first of `places`, relative to the data folders, that exists; DataError says where to put `what`."""
        roots = data_roots(self.root)
        found = next((root / place for root in roots for place in places if (root / place).exists()), None)
        if found is None:
            raise DataError(f"{what} is missing", hint, f"put it at {roots[0] / places[0]}")
        return found

    def find_or_fetch(self, name: str, folder: str, mirrors: Sequence[str], md5: str, *places: str) -> Path:
        """The file `name`: the first of `places` (by default in `folder`, or alone) in the data folders.

        If it is missing and the key `root` is not set, it is downloaded into `folder` of the cache.
        """
        try:
            return self.find(name, f"key {self.key('root')}", *(places or (f"{folder}/{name}", name)))
        except DataError:
            if self.root:
                raise
        return fetch(name, mirrors, md5, downloads() / folder)

    def read(self) -> Source:
        """The images and labels of the set, checked."""
        raise NotImplementedError

    def source(self, progress: Progress | None) -> Source:
        """Like `read`, for data sets that copy samples themselves and report progress."""
        return self.read()

    def spec(self, source: Source) -> DataSpec:
        """The specification of the set once opened."""
        form, labels = source.form, source.labels
        points = isinstance(source.images, np.ndarray) and source.images.dtype == np.float32
        shape = (form.channels, form.size, form.size) if form else source.images.shape[1:]  # type: ignore[union-attr]
        columns = ("image",) if labels is None else ("image", "label")
        return DataSpec(self.name, shape, columns, source.label_names, labels is not None and labels.ndim == 2, points)

    def prepare(self, progress: Progress | None = None, verify: bool = False) -> Store:
        return store.obtain(self.name, self.store_key, lambda: self._source(progress), progress, verify)

    def _source(self, progress: Progress | None) -> Source:
        """The source of the store, after `validate` has accepted it."""
        source = self.source(progress)
        if self.validate:
            self.validate(self.spec(source))
        key = self.key("on_error") if self.on_error else None
        return replace(source, skip_unreadable=self.on_error == "skip", skip_key=key)

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        stored = self.prepare(progress)
        columns = {"image": StoredArray(stored.images, stored.blocks)}
        if stored.labels is not None:
            columns["label"] = StoredArray(stored.labels)
        return Data(
            Table(self.name, {**columns, **self.further_columns(stored)}, device, fits(stored.images.nbytes, device)),
            {name: torch.from_numpy(indices) for name, indices in self.splits(stored).items()},
            stored.label_names,
            self.fingerprint,
            self.seed,
            self.flip,
            self.split_seed,
        )

    def further_columns(self, stored: Store) -> dict[str, Tensor]:
        """Columns beside the image and its label, (N, ...), one row for each sample of the store."""
        return {}

    def splits(self, stored: Store) -> dict[str, Indices]:
        """The indices of each split into the store."""
        held = {"valid": self.valid, "test": self.test}
        splits = carve(stored.parts, stored.labels, held, self.split_seed, self.contiguous, self.key)
        splits = with_classes(splits, stored.labels, self.classes, self.key("classes"))
        train = balanced(splits["train"], stored.labels, self.num_labels, self.split_seed, self.key("num_labels"))
        return {**splits, "train": limited(train, self.limit, self.split_seed)}

    @cached_property
    def source_hash(self) -> str:
        """sha256 (hex) of the source; independent of the paths of its files."""
        return fingerprint(self.files())

    @property
    def store_key(self) -> dict[str, Any]:
        """Everything that decides about the bytes of the store."""
        own = {key: value for key, value in self._keys().items() if key not in self.not_in_store}
        return {"dataset": self.name, "source": self.source_hash, **PROCESSING, **own}

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of everything that determines the training images; independent of the paths of the files."""
        left_out = {*self.places, "seed"}
        keys = {key: value for key, value in self._keys().items() if key not in left_out and value is not None}
        if self.classes:
            keys["classes"] = sorted(set(self.classes))
        return json_hash({**self.store_key, **keys})

    def _keys(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

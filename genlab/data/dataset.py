"""What every data set shares: from a reader's source to splits on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from genlab.core.data_spec import Facts
from genlab.data.labels import Classes, balanced, of_classes
from genlab.data.loader import Data, Split
from genlab.data.splits import Held, Key, Rows, carve, in_dataset, limited
from genlab.data.store import store
from genlab.data.store.fingerprint import fingerprint
from genlab.data.store.hashing import facts_hash
from genlab.data.store.image import PROCESSING
from genlab.data.store.rows import StoredRows
from genlab.data.store.store import Show, Source, Store
from genlab.data.store.table import Table, fits

__all__ = ["Data", "Dataset", "Options", "Split"]


@dataclass(frozen=True)
class Options:
    """The keys that data sets have in common. `held` is what to carve from train for splits that lack.

    `classes` are those to train on, `num_labels` how many labelled images; both only where images have a class each.
    """

    root: str | None
    size: int | None
    held: dict[str, Held]
    flip: bool
    limit: int | None
    seed: int
    form: dict[str, Any] = field(default_factory=dict)  # what else decides about pixels
    num_labels: int | None = None
    classes: Classes | None = None


class Dataset:
    """A reader says which files it is made of (`files`) and reads them (`read`); the rest is common.

    A reader never writes where the files lie. Errors: DataError for what is missing or damaged.
    """

    name: ClassVar[str]
    contiguous: ClassVar[bool] = False  # splits carved from the end, not drawn: neighbouring rows look alike
    unfit: ClassVar[str | None] = None  # why no other data set can be made of this one
    # told what the set will be before a picture of it is decoded; raises GenlabError if that is of no use
    vet: Callable[[Facts], None] | None = None
    key: Key = staticmethod(in_dataset)  # where a key of this set stands; within another set it is elsewhere

    def __init__(self, options: Options) -> None:
        self.options = options

    def files(self) -> Sequence[Path]:
        """The files and folders of the set; DataError says which one is missing and where to put it."""
        raise NotImplementedError

    def read(self) -> Source:
        """The set's pictures and labels, checked."""
        raise NotImplementedError

    def vetted(self) -> Source:
        """As `read`, once `vet` has nothing against it."""
        source = self.read()
        if self.vet:
            self.vet(self.promised(source))
        return source

    def promised(self, source: Source) -> Facts:
        """What the opened set will be."""
        form = source.form
        shape = (form.channels, form.size, form.size) if form else source.images.shape[1:]  # type: ignore[union-attr]
        columns = ("image",) if source.labels is None else ("image", "label")
        several = source.labels is not None and source.labels.ndim == 2
        return Facts(self.name, shape, columns, source.label_names, several)

    def check(self) -> None:
        """Whether the set is there (MNIST and Fashion-MNIST are fetched if it is not). Cheap: reads no pictures."""
        self.files()

    def prepare(self, show: Show | None = None, verify: bool = False) -> Store:
        """The decoded store, built if need be; with `verify`, all its files' hashes are checked and it is mended."""
        return store.obtain(self.name, self._facts(), self.vetted, show, verify)

    def open(self, device: torch.device, show: Show | None = None) -> Data:
        """The set, ready to be read on `device`. `show(done, total)` is called while a store is being built."""
        options, facts = self.options, self._facts()
        opened = store.obtain(self.name, facts, self.vetted, show)
        columns = {"image": StoredRows(opened.images)}
        if opened.labels is not None:
            columns["label"] = StoredRows(opened.labels)
        return Data(
            Table(self.name, columns, device, fits(opened.images.nbytes, device)),
            {name: torch.from_numpy(rows) for name, rows in self.splits(opened).items()},
            opened.label_names,
            self._fingerprint(facts),
            options.seed,
            options.flip,
        )

    def splits(self, opened: Store) -> dict[str, Rows]:
        """The store's rows in each split."""
        options = self.options
        splits = carve(opened.parts, opened.labels, options.held, options.seed, self.contiguous, self.key)
        splits = of_classes(splits, opened.labels, options.classes, self.key("classes"))
        train = balanced(splits["train"], opened.labels, options.num_labels, options.seed, self.key("num_labels"))
        return {**splits, "train": limited(train, options.limit, options.seed)}

    def _facts(self) -> dict[str, Any]:
        """All that decides about the store's bytes."""
        options = self.options
        source = fingerprint(self.files())
        return {"reader": self.name, "source": source, "size": options.size, **PROCESSING, **options.form}

    def _fingerprint(self, facts: dict[str, Any]) -> str:
        """A hash of what decides about the images that training sees, wherever the files lie."""
        options = self.options
        facts = {**facts, "held": options.held, "limit": options.limit, "seed": options.seed, "flip": options.flip}
        choices = {"num_labels": options.num_labels, "classes": options.classes and sorted(set(options.classes))}
        facts |= {key: value for key, value in choices.items() if value is not None}  # null is as if there were no key
        return facts_hash(facts)

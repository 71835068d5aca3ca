"""Two domains of images without partners: two folders, or a data set divided by an attribute or by two classes.

An epoch covers the images of domain `a`. Each comes with the next image of a stream over domain `b`, which has its own
permutations, so that the pairs change in every epoch; both streams are arithmetic. In an evaluation, image i of `a` is
beside image i of `b`, which starts over at its end.

Zhu, Park, Isola & Efros, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, ICCV 2017
(arXiv:1703.10593).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Len
from torch import Tensor

from genlab.core.data_spec import DataSpec
from genlab.data.dataset import Files, Form, Source, fixed
from genlab.data.datasets.folder import Folder, images_below
from genlab.data.derived import Derived, split_indices
from genlab.data.loader import Data
from genlab.data.pairs import SIDES, Augment, PairData, PairTable
from genlab.data.splits import Held, Indices, carve, limited
from genlab.data.store.hashing import json_hash
from genlab.data.store.image import SUFFIXES
from genlab.data.store.store import Progress, Store
from genlab.errors import ConfigError, DataError, nearest
from genlab.registry import DATASETS, DatasetSpec, NonNegativeInt, PositiveInt
from genlab.utils.terminal import say

SPLITS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}  # trainA, trainB, valA, ...
DOMAINS = ("A", "B")


@DATASETS("unpaired")
@dataclass(kw_only=True)
class Unpaired(Derived):
    """Folders `trainA`, `trainB`, `testA`, ... below `root`; or the data set `base`, divided by attribute or classes.

    With `attribute`, domain `a` has the images without it and `b` those with it; with `classes`, `a` has the images of
    the first class and `b` those of the second. Missing splits are drawn from train by `split_seed`.
    """

    name = "unpaired"

    root: str | None = None
    base: DatasetSpec | None = None
    attribute: str | None = None
    classes: Annotated[list[NonNegativeInt], Len(2, 2)] | None = None
    size: PositiveInt | None = 64
    channels: Literal[1, 3] = 3
    valid: Held = 0.1
    test: Held = 0.1
    flip: bool = False
    jitter: bool = False
    limit: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.base is None:
            if self.attribute or self.classes:
                key = "attribute" if self.attribute else "classes"
                raise ConfigError(
                    "folders have no attributes or classes", f"key dataset.{key}", "add dataset.base=celeba"
                )
            self.inner = TwoFolders(root=self.root, size=self.size or 64, channels=self.channels, valid=self.valid,
                                    test=self.test, split_seed=self.split_seed)  # fmt: skip
            self.inner.validate = self.validate_inner
            self.classes = [0, 1]
        elif (self.attribute is None) == (self.classes is None):
            raise ConfigError(
                "a data set is divided by one attribute or by two classes",
                "keys dataset.attribute, dataset.classes",
                "give one of them, e.g. dataset.attribute=Smiling or dataset.classes=[0,1]",
            )
        elif self.classes and self.classes[0] == self.classes[1]:
            raise ConfigError(
                "both domains are the same class", f"key dataset.classes={self.classes}", "give two classes"
            )
        else:
            self.derive("base", self.base, root=self.root, size=self.size)

    def spec(self, inner: DataSpec) -> DataSpec:
        self._check_division(inner)
        return DataSpec(self.name, inner.shape, tuple(SIDES), aligned=False)

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        data = self.inner.open(device, progress)
        domain = self._domain(data)
        divided = {name: self._divide(name, indices, domain) for name, indices in split_indices(data).items()}
        for name, (indices, _) in divided.items():
            if data.sizes()[name] and not len(indices):
                say(f"warning: the split {name} has no pairs: one of the domains has no image there")
        a, b = (torch.from_numpy(limited(indices, self.limit, self.split_seed)) for indices in divided["train"])
        splits = {name: beside(*map(torch.from_numpy, both)) for name, both in divided.items()}
        augment, images = Augment(self.flip, self.jitter), data.table.columns["image"]
        table = PairTable(self.name, images, device, data.resident, augment, aligned=False)
        table.stored = data.table.stored
        identity = {"base": data.fingerprint, "attribute": self.attribute, "classes": self.classes, "limit": self.limit,
                    "split_seed": self.split_seed}  # fmt: skip
        splits = {**splits, "train": beside(a, b)}
        return PairData(table, splits, json_hash(identity), self.seed, self.split_seed, others=b)

    def _domain(self, data: Data) -> np.ndarray:
        """The domain (N,) of each image of the data: 0 (a), 1 (b), or −1 (neither)."""
        self._check_division(data)
        labels = data.table.columns["label"]
        assert isinstance(labels, Tensor)
        table = labels.cpu().numpy()
        if self.attribute is not None:
            return table[:, (data.label_names or []).index(self.attribute)].astype(np.int64)
        first, second = self.classes or [0, 1]
        return np.select([table == first, table == second], [0, 1], -1)

    def _check_division(self, inner: DataSpec) -> None:
        """ConfigError if the base cannot be divided by `attribute` or `classes`."""
        names, attribute, last = inner.label_names or [], self.attribute, max(self.classes or [0])
        where = f"key dataset.classes={self.classes}" if attribute is None else f"key dataset.attribute={attribute}"
        if "label" not in inner.columns:
            problem, hint = "has no labels", "make another data set dataset.base"
        elif attribute is not None and not inner.multi_label:
            problem, hint = "has classes, not attributes", "use dataset.classes=[0,1]"
        elif attribute is None and inner.multi_label:
            problem, hint = "has attributes, not classes", "use dataset.attribute=NAME dataset.classes=null"
        elif attribute is not None and attribute not in names:
            problem, hint = f"has no attribute '{attribute}'", nearest(attribute, names)
        elif last >= len(names):
            problem, hint = f"has no class {last}", f"give two from 0 to {len(names) - 1}"
        else:
            return
        raise ConfigError(f"data set '{inner.name}' {problem}", where, hint)

    def _divide(self, split: str, indices: Tensor, domain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The indices of a split in each domain. If a domain has none, the split is empty; train must not be."""
        of_split = indices.cpu().numpy()
        a, b = (of_split[domain[of_split] == number] for number in (0, 1))
        if split == "train" and not (len(a) and len(b)):
            empty, key = ("b" if len(a) else "a"), "attribute" if self.attribute is not None else "classes"
            raise ConfigError(
                f"domain {empty} has no training image", f"key dataset.{key}", f"give another dataset.{key}"
            )
        return (a, b) if len(a) and len(b) else (a[:0], b[:0])


def beside(a: Tensor, b: Tensor) -> Tensor:
    """Indices (len(a), 2): each of a with one of b, which starts over at its end."""
    return torch.stack([a, b[torch.arange(len(a)) % max(1, len(b))]], dim=1)


@dataclass(kw_only=True)
class TwoFolders(Folder):
    """Folders named after split and domain, the domains as classes 0 (A) and 1 (B)."""

    name = "unpaired"

    on_error: None = fixed(None)

    def files(self) -> list[Path]:
        [root] = super().files()
        missing = next((name for name in ("trainA", "trainB") if not (root / name).is_dir()), None)
        if missing:
            raise DataError(
                f"{root / missing} is missing",
                "key dataset.root: the folder that holds trainA and trainB (and testA, testB, valA, valB)",
                "put the images of a domain there",
            )
        return [root]

    def splits(self, stored: Store) -> dict[str, Indices]:
        """Missing splits are sampled from each domain separately, so that neither is empty if images are few."""
        assert stored.labels is not None
        labels, held, seed = stored.labels, {"valid": self.valid, "test": self.test}, self.split_seed
        domains = [
            carve({part: each[labels[each] == domain] for part, each in stored.parts.items()}, None, held, seed)
            for domain in range(len(DOMAINS))
        ]
        return {part: np.sort(np.concatenate([each[part] for each in domains])) for part in SPLITS}

    def read(self) -> Source:
        [root] = self.files()
        parts: dict[str, list[str]] = {}
        labels: list[int] = []
        for part, names in SPLITS.items():
            found = [[n for name in names for n in _below(root, f"{name}{domain}")] for domain in DOMAINS]
            parts[part] = [name for domain in found for name in domain]
            labels += [0] * len(found[0]) + [1] * len(found[1])
            if part == "train" and not all(found):
                empty = f"{names[0]}{DOMAINS[0] if not found[0] else DOMAINS[1]}"
                raise DataError(
                    f"{root / empty} holds no images",
                    f"they end in {' '.join(SUFFIXES)}",
                    "put the images of a domain there",
                )
        images = Files(root, [name for part in parts.values() for name in part])
        counts = {part: len(names) for part, names in parts.items()}
        form = Form(self.size, self.channels)
        return Source(counts, images, np.array(labels, dtype=np.int64), list(DOMAINS), form)


def _below(root: Path, name: str) -> list[str]:
    return images_below(root, root / name) if (root / name).is_dir() else []

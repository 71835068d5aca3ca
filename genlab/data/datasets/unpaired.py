"""Two domains of pictures without partners: two folders, or two halves of a data set by an attribute or by class.

An epoch is one over the pictures of domain `a`. Each comes with the next of a stream over domain `b`, which has
permutations of its own, so that the pairs are others in every epoch; both streams are arithmetic. In an evaluation
picture i of `a` stands beside picture i of `b`, from whose end the count begins anew.

Zhu, Park, Isola & Efros, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, ICCV 2017
(arXiv:1703.10593).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Len
from torch import Tensor

from genlab.core.data_spec import Facts
from genlab.data.dataset import Dataset, Options
from genlab.data.datasets.folder import SUFFIXES, Folder, pictures_below
from genlab.data.loader import Data
from genlab.data.pairs import SIDES, Augment, PairData, PairTable
from genlab.data.splits import Held, Rows, carve, limited
from genlab.data.store.encoded import Files
from genlab.data.store.hashing import facts_hash
from genlab.data.store.store import Show, Source, Store
from genlab.data.wrapped import inner, split_rows
from genlab.errors import ConfigError, DataError, nearest
from genlab.registry import DATASETS, DatasetSpec, NonNegativeInt, PositiveInt
from genlab.utils.progress import say

SPLITS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}  # trainA, trainB, valA, ...
DOMAINS = ("A", "B")


@DATASETS("unpaired")
class Unpaired(Dataset):
    """Folders `trainA`, `trainB`, `testA`, ... below `root`; or the data set `of`, parted by `attribute` or `classes`.

    With an attribute, `a` are the pictures without it and `b` those with it; with classes, `a` are those of the first.
    Splits that are not there are drawn from train by seed.
    """

    name = "unpaired"
    unfit = "holds pairs already"

    def __init__(
        self,
        root: str | None = None,
        of: DatasetSpec | None = None,
        attribute: str | None = None,
        classes: Annotated[list[NonNegativeInt], Len(2, 2)] | None = None,
        size: PositiveInt | None = 64,
        channels: Literal[1, 3] = 3,
        valid: Held = 0.1,
        test: Held = 0.1,
        flip: bool = False,
        jitter: bool = False,
        limit: PositiveInt | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(Options(root, size, {}, False, limit, seed))
        self.attribute, self.classes, self.augment = attribute, classes, Augment(flip, jitter)
        if of is None:
            if attribute or classes:
                key = "attribute" if attribute else "classes"
                raise ConfigError(
                    "folders have no attributes or classes", f"key dataset.{key}", "add dataset.of={name: celeba}"
                )
            self.inner: Dataset = TwoFolders(root, size or 64, channels, valid, test, seed=seed)
            self.classes = [0, 1]
        elif (attribute is None) == (classes is None):
            raise ConfigError(
                "one attribute, or two classes, part a data set in two",
                "keys dataset.attribute, dataset.classes",
                "give one of them, e.g. dataset.attribute=Smiling or dataset.classes=[0,1]",
            )
        elif classes and classes[0] == classes[1]:
            raise ConfigError("both domains are the same class", f"key dataset.classes={classes}", "give two classes")
        else:
            self.inner = inner("dataset.of", of, seed, root=root, size=size)
        self.inner.vet = self.judge

    def judge(self, facts: Facts) -> None:
        self.parts(facts)
        if self.vet:
            self.vet(Facts(self.name, facts.shape, tuple(SIDES), aligned=False))

    def check(self) -> None:
        self.inner.check()

    def prepare(self, show: Show | None = None, verify: bool = False) -> Store:
        return self.inner.prepare(show, verify)

    def open(self, device: torch.device, show: Show | None = None) -> Data:
        data, options = self.inner.open(device, show), self.options
        own = data.split("train").table
        member = self.members(data)
        parted = {name: self.part(name, rows, member) for name, rows in split_rows(data).items()}
        for name, (rows, _) in parted.items():
            if data.sizes()[name] and not len(rows):
                say(f"warning: there are no pairs to hold out as {name}: one of the domains has no picture there")
        a, b = (torch.from_numpy(limited(rows, options.limit, options.seed)) for rows in parted["train"])
        splits = {name: beside(*map(torch.from_numpy, rows)) for name, rows in parted.items()}
        table = PairTable(self.name, own.columns["image"], device, own.resident, self.augment, aligned=False)
        known = {
            "set": data.fingerprint, "attribute": self.attribute, "classes": self.classes, "limit": options.limit
        }  # fmt: skip
        return PairData(table, {**splits, "train": beside(a, b)}, facts_hash(known), options.seed, others=b)

    def members(self, data: Data) -> np.ndarray:
        """The domain of each row of the data: 0 (a), 1 (b), or −1 (neither)."""
        self.parts(data)
        labels = data.split("train").table.columns["label"]
        assert isinstance(labels, Tensor)
        table = labels.cpu().numpy()
        if self.attribute is not None:
            assert data.label_names is not None
            return table[:, data.label_names.index(self.attribute)].astype(np.int64)
        assert self.classes is not None
        first, second = self.classes
        return np.select([table == first, table == second], [0, 1], -1)

    def parts(self, data: Facts | Data) -> None:
        """ConfigError if these data cannot be parted as they are to be."""
        if "label" not in data.columns:
            raise ConfigError(f"data set '{data.name}' has no labels", "key dataset.of", "give a labelled one")
        if self.attribute is not None and not data.multi_label:
            raise ConfigError(
                f"data set '{data.name}' has classes, not attributes",
                f"key dataset.attribute={self.attribute}",
                "use dataset.classes=[0,1]",
            )
        if self.attribute is not None and self.attribute not in (data.label_names or []):
            raise ConfigError(
                f"unknown attribute '{self.attribute}'",
                "key dataset.attribute",
                nearest(self.attribute, data.label_names or []),
            )
        if self.classes is not None and data.multi_label:
            raise ConfigError(
                f"data set '{data.name}' has attributes, not classes",
                "key dataset.classes",
                "use dataset.attribute=NAME dataset.classes=null",
            )
        if self.classes is not None and data.num_classes is not None and max(self.classes) >= data.num_classes:
            raise ConfigError(
                f"data set '{data.name}' has no class {max(self.classes)}",
                f"key dataset.classes={self.classes}",
                f"give two from 0 to {data.num_classes - 1}",
            )

    def part(self, name: str, rows: Tensor, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a split in each domain. Where one has none, the split is empty; train may not be."""
        numbers = rows.cpu().numpy()
        a, b = (numbers[member[numbers] == domain] for domain in (0, 1))
        if name == "train" and not (len(a) and len(b)):
            empty, key = ("b" if len(a) else "a"), "attribute" if self.attribute is not None else "classes"
            raise ConfigError(
                f"domain {empty} has no training picture", f"key dataset.{key}", f"give another dataset.{key}"
            )
        return (a, b) if len(a) and len(b) else (a[:0], b[:0])


def beside(a: Tensor, b: Tensor) -> Tensor:
    """Rows (len(a), 2): each of a with one of b, whose count begins anew at its end."""
    return torch.stack([a, b[torch.arange(len(a)) % max(1, len(b))]], dim=1)


class TwoFolders(Folder):
    """Folders named after split and domain, their domains as classes 0 (A) and 1 (B)."""

    name = "unpaired"

    def files(self) -> list[Path]:
        [root] = super().files()
        lacking = next((name for name in ("trainA", "trainB") if not (root / name).is_dir()), None)
        if lacking:
            raise DataError(
                f"{root / lacking} is missing",
                "key dataset.root: the folder that holds trainA and trainB (and testA, testB, valA, valB)",
                "put a domain's pictures there",
            )
        return [root]

    def splits(self, opened: Store) -> dict[str, Rows]:
        """What lacks is drawn from each domain by itself, so that a share of few pictures leaves none without any."""
        assert opened.labels is not None
        options, labels = self.options, opened.labels
        domains = [
            carve({part: rows[labels[rows] == domain] for part, rows in opened.parts.items()}, None, options.held,
                  options.seed)
            for domain in range(len(DOMAINS))
        ]  # fmt: skip
        return {part: np.sort(np.concatenate([rows[part] for rows in domains])) for part in SPLITS}

    def read(self) -> Source:
        [root] = self.files()
        parts: dict[str, list[str]] = {}
        labels: list[int] = []
        for part, names in SPLITS.items():
            found = [[n for name in names for n in _below(root, f"{name}{domain}")] for domain in DOMAINS]
            parts[part] = [name for domain in found for name in domain]
            labels += [0] * len(found[0]) + [1] * len(found[1])
            if part == "train" and not all(found):
                lacking = f"{names[0]}{DOMAINS[0] if not found[0] else DOMAINS[1]}"
                raise DataError(
                    f"{root / lacking} holds no pictures",
                    f"they end in {' '.join(SUFFIXES)}",
                    "put a domain's pictures there",
                )
        pictures = Files(root, [name for part in parts.values() for name in part])
        counts = {part: len(names) for part, names in parts.items()}
        return Source(counts, pictures, np.array(labels, dtype=np.int64), list(DOMAINS), self.form)


def _below(root: Path, name: str) -> list[str]:
    return pictures_below(root, root / name) if (root / name).is_dir() else []

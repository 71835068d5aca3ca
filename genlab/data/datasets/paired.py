"""Pairs of pictures of the same thing, an input `a` and a target `b`: beside each other in one file, or in two folders.

Isola, Zhu, Zhou & Efros, Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017
(arXiv:1611.07004) has the first form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from annotated_types import Len

from genlab.core.data_spec import Facts
from genlab.data.dataset import Dataset, Options
from genlab.data.datasets.folder import PARTS, SUFFIXES, pictures_below, split_folders
from genlab.data.loader import Data
from genlab.data.pairs import SIDES, Augment, PairData, PairTable
from genlab.data.splits import Held
from genlab.data.store import store
from genlab.data.store.encoded import Chain, Encoded, Files
from genlab.data.store.hashing import facts_hash
from genlab.data.store.image import Form, SideBySide
from genlab.data.store.rows import StoredRows
from genlab.data.store.store import Show, Source, Store
from genlab.data.store.table import fits
from genlab.errors import ConfigError, DataError
from genlab.registry import DATASETS, PositiveInt
from genlab.utils.paths import data_roots

Half = Literal["left", "right"]


@DATASETS("paired")
class Paired(Dataset):
    """Pictures below `root` that are two beside each other; or, with `folders`, two folders below it with equal names.

    Folders `train`, `valid` (or `val`) and `test`, in the root or in each of the two folders, are the splits; those
    that are not there are drawn from train by seed. Squares are cut from the middle of each half or picture.
    """

    name = "paired"
    unfit = "holds pairs already"

    def __init__(
        self,
        root: str | None = None,
        input: Half = "left",
        folders: Annotated[list[str], Len(2, 2)] | None = None,
        size: PositiveInt = 256,
        channels: Literal[1, 3] = 3,
        valid: Held = 0.1,
        test: Held = 0.1,
        flip: bool = False,
        jitter: bool = False,
        limit: PositiveInt | None = None,
        seed: int = 0,
    ) -> None:
        self.input, self.folders, self.augment = input, folders, Augment(flip, jitter)
        self.form = Form(size, channels) if folders else SideBySide(size, channels)
        facts = {"folders": folders, **asdict(self.form)}
        super().__init__(Options(root, size, {"valid": valid, "test": test}, False, limit, seed, facts))

    def files(self) -> list[Path]:
        root = self.root()
        if not root.is_dir():
            raise DataError(f"{root} is no folder", "key dataset.root", "give the folder that holds the pairs")
        both = [root / name for name in self.folders or ["."]]
        missing = next((folder for folder in both if not folder.is_dir()), None)
        if missing is not None:
            raise DataError(f"{missing} is not there", "key dataset.folders", "name two folders below dataset.root")
        return both

    def root(self) -> Path:
        if self.options.root is None:
            raise ConfigError(f"the data set '{self.name}' needs a folder", "key dataset.root", "add dataset.root=PATH")
        return Path(self.options.root).expanduser().absolute()

    def parts(self, folder: Path) -> dict[str, list[str]]:
        """The pictures of each split, their names below `folder`."""
        return {
            part: [n for each in split_folders(folder, part) for n in pictures_below(folder, each)] for part in PARTS
        }

    def read(self) -> Source:
        first, *second = self.files()
        parts = self.parts(first)
        names = [name for part in parts.values() for name in part]
        if not names:
            raise DataError(f"{first} holds no pictures", f"they end in {' '.join(SUFFIXES)}", "give another folder")
        pictures: Encoded = Files(first, names)
        if second:
            pictures = Chain([pictures, Files(second[0], partners(first, names, second[0]))])
        return Source({part: len(found) for part, found in parts.items()}, pictures, form=self.form)

    def promised(self, source: Source) -> Facts:
        return replace(super().promised(source), columns=tuple(SIDES))

    def open(self, device: torch.device, show: Show | None = None) -> Data:
        facts = self._facts()
        opened = store.obtain(self.name, facts, self.vetted, show)
        pairs = {name: torch.from_numpy(self.pairs(rows, opened)) for name, rows in self.splits(opened).items()}
        # a view of the file: two rows for each of its own where a file holds two pictures
        pictures = cast("np.memmap[Any, Any]", opened.images.reshape(-1, self.form.channels, *opened.images.shape[2:]))
        resident = fits(pictures.nbytes, device)
        table = PairTable(self.name, StoredRows(pictures), device, resident, self.augment, aligned=True)
        known = {"set": self._fingerprint(facts), "input": self.input}
        return PairData(table, pairs, facts_hash(known), self.options.seed)

    def pairs(self, rows: np.ndarray, opened: Store) -> np.ndarray:
        """Numbers of pairs (n,) to those of their pictures (n, 2), the input first."""
        if self.folders:
            return np.stack([rows, rows + len(opened.images) // 2], axis=1)
        both = np.stack([2 * rows, 2 * rows + 1], axis=1)
        return both if self.input == "left" else both[:, ::-1].copy()


def partners(first: Path, names: Sequence[str], second: Path) -> list[str]:
    """The pictures below `second` with the names of those below `first`, whatever their suffixes."""
    known = {str(Path(name).with_suffix("")): name for name in pictures_below(second, second)}
    stems = [str(Path(name).with_suffix("")) for name in names]
    lost = next((name for name, stem in zip(names, stems, strict=True) if stem not in known), None)
    if lost is not None:
        raise DataError(
            f"{first / lost} has no partner", f"{second} holds no picture of that name", "add it, or take both away"
        )
    return [known[stem] for stem in stems]


@DATASETS("facades")
class Facades(Paired):
    """CMP facades as pix2pix has them: a photograph and, to its right, the label map that is the input.

    Without a folder `test`, `val` is the test split, as in pix2pix's own figures; validation is drawn from train.
    """

    name = "facades"

    def __init__(
        self,
        root: str | None = None,
        size: PositiveInt = 256,
        valid: Held = 0.1,
        flip: bool = False,
        jitter: bool = False,
        limit: PositiveInt | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            root, "right", size=size, valid=valid, test=0, flip=flip, jitter=jitter, limit=limit, seed=seed
        )

    def root(self) -> Path:
        roots = data_roots(self.options.root)
        places = [place for root in roots for place in (root / "facades", root) if (place / "train").is_dir()]
        if not places:
            raise DataError(
                "the facades are missing",
                "pix2pix's authors have them, as facades.tar.gz",
                f"put its folders train, val and test into {roots[0] / 'facades'}",
            )
        return places[0]

    def parts(self, folder: Path) -> dict[str, list[str]]:
        found = super().parts(folder)
        return found if found["test"] else {**found, "valid": [], "test": found["valid"]}

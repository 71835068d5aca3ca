"""Pairs of images of the same thing, an input `a` and a target `b`: side by side in one file, or in two folders.

Isola, Zhu, Zhou & Efros, Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017
(arXiv:1611.07004) has the first form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from annotated_types import Len

from genlab.core.data_spec import DataSpec
from genlab.data.dataset import Files, Form, Source, StoredDataset, fixed
from genlab.data.datasets.folder import images_below, root_folder, split_images
from genlab.data.loader import Data
from genlab.data.pairs import SIDES, Augment, PairData, PairTable
from genlab.data.store.encoded import Chain, Encoded
from genlab.data.store.image import SideBySide
from genlab.data.store.store import Progress, Store
from genlab.data.store.stored_array import StoredArray
from genlab.data.store.table import fits
from genlab.errors import DataError
from genlab.registry import DATASETS, PositiveInt

Half = Literal["left", "right"]


@DATASETS("paired")
@dataclass(kw_only=True)
class Paired(StoredDataset):
    """Files below `root` that hold two images side by side; or, with `folders`, two folders of files with equal names.

    Folders `train`, `valid` (or `val`) and `test`, in the root or in each of the two folders, are the splits; missing
    ones are drawn from train by `split_seed`. Squares are cut from the middle of each half or image.
    """

    name = "paired"
    not_a_base = "holds pairs already"
    not_in_store: ClassVar[frozenset[str]] = StoredDataset.not_in_store | {"input", "jitter"}

    input: Half = "left"
    folders: Annotated[list[str], Len(2, 2)] | None = None
    size: PositiveInt = 256
    channels: Literal[1, 3] = 3
    jitter: bool = False
    num_labels: None = fixed(None)
    classes: None = fixed(None)

    def files(self) -> list[Path]:
        root = self.folder()
        both = [root / name for name in self.folders or ["."]]
        missing = next((folder for folder in both if not folder.is_dir()), None)
        if missing is not None:
            raise DataError(f"{missing} is missing", "key dataset.folders", "name two folders below dataset.root")
        return both

    def folder(self) -> Path:
        """The folder that holds the pairs."""
        return root_folder(self)

    def parts(self, folder: Path) -> dict[str, list[str]]:
        """The images of each split, their paths relative to `folder`."""
        return split_images(folder)

    def read(self) -> Source:
        first, *second = self.files()
        parts = self.parts(first)
        names = [name for part in parts.values() for name in part]
        images: Encoded = Files(first, names)
        if second:
            images = Chain([images, Files(second[0], partners(first, names, second[0]))])
        form = (Form if self.folders else SideBySide)(self.size, self.channels)
        return Source({part: len(found) for part, found in parts.items()}, images, form=form)

    def spec(self, source: Source) -> DataSpec:
        return replace(super().spec(source), columns=tuple(SIDES))

    def open(self, device: torch.device, progress: Progress | None = None) -> Data:
        stored = self.prepare(progress)
        pairs = {name: torch.from_numpy(self.pairs(each, stored)) for name, each in self.splits(stored).items()}
        # a view of the file: two images for each of its entries if a file holds two images
        images = cast("np.memmap[Any, Any]", stored.images.reshape(-1, self.channels, *stored.images.shape[2:]))
        augment, resident = Augment(self.flip, self.jitter), fits(images.nbytes, device)
        table = PairTable(self.name, StoredArray(images, stored.blocks), device, resident, augment, aligned=True)
        return PairData(table, pairs, self.fingerprint, self.seed, self.split_seed)

    def pairs(self, indices: np.ndarray, stored: Store) -> np.ndarray:
        """Indices of pairs (n,) to the indices of their images (n, 2), the input first."""
        if self.folders:
            return np.stack([indices, indices + len(stored.images) // 2], axis=1)
        both = np.stack([2 * indices, 2 * indices + 1], axis=1)
        return both if self.input == "left" else both[:, ::-1].copy()


def partners(first: Path, names: Sequence[str], second: Path) -> list[str]:
    """The images below `second` with the names of those below `first`; suffixes may differ."""
    known = {str(Path(name).with_suffix("")): name for name in images_below(second, second)}
    stems = [str(Path(name).with_suffix("")) for name in names]
    lost = next((name for name, stem in zip(names, stems, strict=True) if stem not in known), None)
    if lost is not None:
        raise DataError(
            f"{first / lost} has no partner", f"{second} holds no image of that name", "add it, or remove both"
        )
    return [known[stem] for stem in stems]


@DATASETS("facades")
@dataclass(kw_only=True)
class Facades(Paired):
    """CMP facades as in pix2pix: a photograph and, to its right, the label map, which is the input.

    Without a folder `test`, `val` is the test split, as in the paper of pix2pix; validation is drawn from train.
    """

    name = "facades"

    input: Half = fixed("right")
    folders: None = fixed(None)
    channels: Literal[1, 3] = fixed(3)
    test: int = fixed(0)

    def folder(self) -> Path:
        hint = "facades.tar.gz of pix2pix holds it, beside val and test"
        return self.find("the folder train of the facades", hint, "facades/train", "train").parent

    def parts(self, folder: Path) -> dict[str, list[str]]:
        found = super().parts(folder)
        return found if found["test"] else {**found, "valid": [], "test": found["valid"]}

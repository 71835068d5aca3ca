"""EMNIST: handwritten digits and letters, Cohen, Afshar, Tapson & van Schaik, IJCNN 2017 (arXiv:1702.05373).

IDX files as MNIST's, with every image transposed; here they are upright.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from genlab.data.dataset import Source, StoredDataset, fixed
from genlab.data.datasets.mnist import bordered, read_labeled
from genlab.data.splits import Held
from genlab.errors import DataError
from genlab.registry import DATASETS

ARCHIVE = "gzip.zip"
MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"  # lower case that differs from upper case
Subset = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]
CLASSES: dict[str, str] = {
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": MERGED,
    "balanced": MERGED,
    "letters": string.ascii_uppercase,
    "digits": string.digits,
    "mnist": string.digits,
}


@DATASETS("emnist")
@dataclass(kw_only=True)
class EMNIST(StoredDataset):
    """One of the six sets of images of 28x28 gray pixels; `letters` has 124,800 for training in 26 classes.

    Sizes 29 to 32 add a border of zeros, as GAN papers do; other sizes are resized with antialiasing.
    """

    name = "emnist"
    mirrors: ClassVar = ("https://biometrics.nist.gov/cs_links/EMNIST/",)
    md5: ClassVar = "58c8d27c78d21e728a6bc7b3cc06412e"

    subset: Subset = "balanced"
    valid: Held = 5000
    test: int = fixed(0)

    def _names(self) -> list[str]:
        kinds = ("images-idx3", "labels-idx1")
        return [f"emnist-{self.subset}-{part}-{kind}-ubyte.gz" for part in ("train", "test") for kind in kinds]

    def files(self) -> list[Path]:
        """The four files of the subset, gzipped or not, or the archive with all of them."""
        try:
            return [self._plain(name) for name in self._names()]
        except DataError:
            return [self.find_or_fetch(ARCHIVE, "EMNIST", self.mirrors, self.md5)]

    def _plain(self, name: str) -> Path:
        folders, names = ("EMNIST/raw/", "EMNIST/", "gzip/", ""), (name, name.removesuffix(".gz"))
        return self.find(name, "", *(folder + each for folder in folders for each in names))

    def read(self) -> Source:
        files = self.files()
        zipped = len(files) == 1
        members = [f"gzip/{name}" for name in self._names()] if zipped else [None] * 4
        files = files * 4 if zipped else files
        first = 1 if self.subset == "letters" else 0  # letters count from 1
        classes = list(CLASSES[self.subset])
        parts = [read_labeled(files[i : i + 2], len(classes), first, members[i : i + 2]) for i in (0, 2)]
        images, labels = zip(*parts, strict=True)
        return Source(
            {"train": len(labels[0]), "test": len(labels[1])},
            bordered(np.concatenate(images).transpose(0, 2, 1)[:, None], self.size),
            np.concatenate(labels),
            classes,
        )

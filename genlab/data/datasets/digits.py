"""scikit-learn's handwritten digits: the data set that needs no download (Alpaydin and Kaynak, 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from genlab.data.dataset import Source, StoredDataset
from genlab.data.store.image import resize_all
from genlab.errors import DataError
from genlab.registry import DATASETS


@DATASETS("digits")
@dataclass(kw_only=True)
class Digits(StoredDataset):
    """1,797 gray digits of 8x8 pixels in 17 levels, scaled to 0..255. Random splits, stratified by class."""

    name = "digits"

    def files(self) -> list[Path]:
        # found without importing scikit-learn, which takes a second
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise DataError("scikit-learn is not installed", "the digits are part of it", "pip install scikit-learn")
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if not file.is_file():
            raise DataError(f"{file} is missing", "it comes with scikit-learn", "install scikit-learn again")
        return [file]

    def read(self) -> Source:
        table = np.loadtxt(self.files()[0], delimiter=",")  # 64 levels and a label a row
        levels, labels = table[:, :-1], table[:, -1]
        images = np.rint(levels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        return Source(
            {"train": len(images)},
            resize_all(images, self.size),
            labels.astype(np.int64),
            [str(digit) for digit in range(10)],
        )

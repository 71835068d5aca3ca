"""scikit-learn's handwritten digits: the data set that needs no download (Alpaydin and Kaynak, 1998)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from genlab.data.dataset import Dataset, Options
from genlab.data.labels import Classes
from genlab.data.splits import Held
from genlab.data.store.image import resize_all
from genlab.data.store.store import Source
from genlab.errors import DataError
from genlab.registry import DATASETS, PositiveInt


@DATASETS("digits")
class Digits(Dataset):
    """1,797 grey digits of 8x8 pixels in 17 levels, spread over 0..255. Splits are drawn by seed, class by class."""

    name = "digits"

    def __init__(
        self,
        root: str | None = None,
        size: PositiveInt | None = None,
        valid: Held = 0.1,
        test: Held = 0.1,
        flip: bool = False,
        limit: PositiveInt | None = None,
        num_labels: PositiveInt | None = None,
        classes: Classes | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            Options(
                root, size, {"valid": valid, "test": test}, flip, limit, seed, num_labels=num_labels, classes=classes
            )
        )

    def files(self) -> list[Path]:
        # found without importing scikit-learn, which takes a second
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise DataError("scikit-learn is not installed", "it brings the digits", "pip install scikit-learn")
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
            resize_all(images, self.options.size),
            labels.astype(np.int64),
            [str(digit) for digit in range(10)],
        )

"""The MATLAB files of SVHN. In its own module, so that the child process that reads them does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genlab.data.store.image import Pixels
from genlab.data.store.mat_file import not_the_file, variables

SIDE = 32
WHAT = "SVHN's file of cropped digits"


def digits(part: str, file: Path) -> Iterator[tuple[str, Pixels, NDArray[np.int64]]]:
    """`part`, uint8 (N, 3, 32, 32) and the digits int64 (N,), as the only result of a child process.

    The file holds X, uint8 (32, 32, 3, N), and y, (N, 1), in which 10 stands for the digit 0.
    """
    images, labels = variables(file, ["X", "y"], WHAT)
    labels = labels.reshape(-1).astype(np.int64)
    if images.dtype != np.uint8 or images.shape != (SIDE, SIDE, 3, len(labels)):
        how = f"X is {images.dtype} {images.shape} and y has {len(labels)} labels"
        raise not_the_file(file, WHAT, how)
    if not np.isin(labels, range(1, 11)).all():
        raise not_the_file(file, WHAT, "y holds labels other than 1 to 10")
    yield part, np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels % 10

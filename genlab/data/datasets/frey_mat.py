"""The Frey faces' MATLAB file. In its own module, so that the child process that reads it does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genlab.data.store.image import Pixels
from genlab.errors import DataError

HEIGHT, WIDTH = 28, 20


def frames(file: Path) -> Iterator[Pixels]:
    """uint8 (N, 1, 28, 20), as the only result of a child process."""
    from scipy.io import loadmat

    try:
        faces = loadmat(file, variable_names=["ff"])["ff"]
    except Exception as error:  # a damaged file may make it raise anything
        raise _damaged(file, f"{type(error).__name__}: {error}") from None
    if not isinstance(faces, np.ndarray) or faces.dtype != np.uint8 or faces.ndim != 2 or not faces.size:
        raise _damaged(file, "its variable 'ff' is not a uint8 matrix")
    if faces.shape[0] != HEIGHT * WIDTH:
        raise _damaged(file, f"its frames have {faces.shape[0]} pixels instead of {HEIGHT * WIDTH}")
    yield np.ascontiguousarray(faces.T).reshape(-1, 1, HEIGHT, WIDTH)


def _damaged(file: Path, how: str) -> DataError:
    return DataError(f"{file} is not the Frey faces' file", how, "download it again")

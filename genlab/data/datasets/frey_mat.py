"""The Frey faces' MATLAB file. In its own module, so that the child process that reads it does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genlab.data.store.image import Pixels
from genlab.data.store.mat_file import not_the_file, variables

HEIGHT, WIDTH = 28, 20
WHAT = "the Frey faces' file"


def frames(file: Path) -> Iterator[Pixels]:
    """uint8 (N, 1, 28, 20), as the only result of a child process."""
    [faces] = variables(file, ["ff"], WHAT)
    if faces.dtype != np.uint8 or faces.ndim != 2:
        raise not_the_file(file, WHAT, "its variable 'ff' is not a uint8 matrix")
    if faces.shape[0] != HEIGHT * WIDTH:
        how = f"its frames have {faces.shape[0]} pixels instead of {HEIGHT * WIDTH}"
        raise not_the_file(file, WHAT, how)
    yield np.ascontiguousarray(faces.T).reshape(-1, 1, HEIGHT, WIDTH)

"""Variables of MATLAB files. Imports no torch: damaged files are read in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.errors import DataError


def variables(file: Path, names: Sequence[str], what: str) -> list[NDArray[Any]]:
    """The numeric arrays of these names in the file, which is to be `what`; DataError if one is missing."""
    from scipy.io import loadmat

    try:
        held = loadmat(file, variable_names=list(names))
        arrays = [held[name] for name in names]
    except Exception as error:  # a damaged file may make it raise anything
        raise not_the_file(file, what, f"{type(error).__name__}: {error}") from None
    for name, array in zip(names, arrays, strict=True):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or not array.size:
            raise not_the_file(file, what, f"its variable '{name}' is not an array of numbers")
    return arrays


def not_the_file(file: Path, what: str, how: str) -> DataError:
    return DataError(f"{file} is not {what}", how, "download it again")

"""What data sets that are made of another one share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.data.batching import Data
from genlab.data.dataset import Dataset
from genlab.registry import DATASETS


def inner(spec: dict[str, Any], seed: int, **keys: Any) -> Dataset:
    """The data set of `spec`, with those of `keys` that are given laid over it."""
    given = {key: value for key, value in keys.items() if value}
    dataset: Dataset = DATASETS.build({**spec, **given}, "dataset.of", seed=seed)
    return dataset


def split_rows(data: Data) -> dict[str, Tensor]:
    """The rows of each split, also of the empty ones."""
    empty = torch.empty(0, dtype=torch.int64)
    return {name: data.split(name).rows if n else empty for name, n in data.sizes().items()}

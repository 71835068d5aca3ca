"""What data sets that are made of another one share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.data.dataset import Dataset
from genlab.data.loader import Data
from genlab.errors import ConfigError
from genlab.registry import DATASETS


def inner(place: str, spec: dict[str, Any], seed: int, **keys: Any) -> Dataset:
    """The data set of `spec`, which stands at `place`, with those of `keys` that are given laid over it.

    ConfigError if nothing can be made of that data set, or if it has no such key.
    """
    given = {key: value for key, value in keys.items() if value}
    unfit = _unfit(DATASETS.get(spec["name"], place))
    if unfit:
        others = ", ".join(name for name in DATASETS.names() if not _unfit(DATASETS.get(name)))
        raise ConfigError(f"data set '{spec['name']}' {unfit}", f"key {place}.name", f"choose one of: {others}")
    strange = next((key for key in given if key not in DATASETS.schema(spec["name"]).model_fields), None)
    if strange:
        off = "false" if given[strange] is True else "null"
        raise ConfigError(
            f"data set '{spec['name']}' takes no {strange}", f"key dataset.{strange}", f"use dataset.{strange}={off}"
        )
    dataset: Dataset = DATASETS.build({**spec, **given}, place, seed=seed)
    dataset.key = lambda name: f"dataset.{name}" if name in given else f"{place}.{name}"
    return dataset


def _unfit(target: Any) -> str | None:
    """Why nothing can be made of a data set; those of plug-ins need not say."""
    why: str | None = getattr(target, "unfit", None)
    return why


def split_rows(data: Data) -> dict[str, Tensor]:
    """The rows of each split, also of the empty ones."""
    empty = torch.empty(0, dtype=torch.int64)
    return {name: data.split(name).rows if n else empty for name, n in data.sizes().items()}

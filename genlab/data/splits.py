"""Train, validation and test rows: the official ones, and what is carved from train where there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt
from numpy.typing import NDArray

from genlab.data.sampler import generator
from genlab.errors import ConfigError
from genlab.registry import NonNegativeInt

Rows = NDArray[np.int64]
# How much to hold out of train: an integer counts images, a number below 1 is a share of train.
Held = NonNegativeInt | Annotated[float, Ge(0), Lt(1)]
Key = Callable[[str], str]  # a key of a data set to its full path, for a message


def in_dataset(key: str) -> str:
    """Where a key of the run's data set stands."""
    return f"dataset.{key}"


def carve(
    parts: Mapping[str, Rows],
    labels: NDArray[np.generic] | None,
    held: Mapping[str, Held],
    seed: int,
    contiguous: bool = False,
    key: Key = in_dataset,
) -> dict[str, Rows]:
    """Rows of `train`, `valid` and `test`, each sorted, disjoint.

    `parts` are the official splits; one that is missing or empty takes `held[name]` rows of train: drawn by
    `seed`, with each class in proportion if `labels` (N,) are classes, or, if `contiguous`, from the end of train.
    ConfigError, naming the `key` at fault, where none is left.
    """
    splits = {name: np.asarray(parts.get(name, ()), dtype=np.int64) for name in ("train", "valid", "test")}
    wanted = {
        name: count(held[name], len(splits["train"]), key(name))
        for name in ("test", "valid")
        if name in held and not len(splits[name])
    }
    pool = splits["train"]
    if sum(wanted.values()) >= max(len(pool), 1):
        raise ConfigError(
            f"holding out {sum(wanted.values())} images leaves none of {len(pool)} to train on",
            f"keys {key('valid')}, {key('test')}",
            "hold out fewer",
        )
    drawn = np.arange(len(pool)) if contiguous or not wanted else _drawn(len(pool), _of(labels, pool), seed)
    for name, n in wanted.items():
        drawn, held_out = drawn[: len(drawn) - n], drawn[len(drawn) - n :]
        splits[name] = pool[np.sort(held_out)]
    return {**splits, "train": pool[np.sort(drawn)] if wanted else pool}


def _of(labels: NDArray[np.generic] | None, pool: Rows) -> NDArray[np.generic] | None:
    return None if labels is None or labels.ndim != 1 else labels[pool]


def count(held: Held, of: int, key: str) -> int:
    """How many images `held` means; a share of more than none is at least one image."""
    if isinstance(held, int):
        if held and held >= of:
            raise ConfigError(f"cannot hold out {held} of {of} training images", f"key {key}", "hold out fewer")
        return held
    return max(1, round(held * of)) if held > 0 else 0


def limited(train: Rows, limit: int | None, seed: int) -> Rows:
    """`limit` rows of train, drawn by seed; a smaller limit's rows are among a larger one's."""
    if limit is None or limit >= len(train):
        return train
    return np.sort(train[_drawn(len(train), None, seed)[:limit]])


def _drawn(n: int, labels: NDArray[np.generic] | None, seed: int) -> Rows:
    """A permutation of n rows by seed; with classes, every stretch of it holds them in nearly equal proportion."""
    order = torch.randperm(n, generator=generator(seed, "split")).numpy()
    if labels is None or labels.ndim != 1:
        return order
    depth = np.empty(n)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        depth[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(depth, kind="stable")]

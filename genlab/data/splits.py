"""Training, validation and test splits: the official ones; missing ones are held out of train."""

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

Indices = NDArray[np.int64]
# How much to hold out of train: an integer is a number of images, a float below 1 a fraction of train.
Held = NonNegativeInt | Annotated[float, Ge(0), Lt(1)]
Key = Callable[[str], str]  # a key of a data set to its path in the configuration, for messages


def in_dataset(key: str) -> str:
    """The path of a key of the data set of a run."""
    return f"dataset.{key}"


def carve(
    parts: Mapping[str, Indices],
    labels: NDArray[np.generic] | None,
    held: Mapping[str, Held],
    seed: int,
    contiguous: bool = False,
    key: Key = in_dataset,
) -> dict[str, Indices]:
    """Indices of `train`, `valid` and `test`, each sorted, disjoint.

    `parts` are the official splits; a missing or empty one takes `held[name]` images of train: drawn by `seed`,
    stratified by class if `labels` (N,) are classes, or, if `contiguous`, from the end of train. ConfigError, naming
    the `key` at fault, if none is left to train on.
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
    drawn = np.arange(len(pool)) if contiguous or not wanted else drawn_order(len(pool), _of(labels, pool), seed)
    for name, n in wanted.items():
        drawn, held_out = drawn[: len(drawn) - n], drawn[len(drawn) - n :]
        splits[name] = pool[np.sort(held_out)]
    return {**splits, "train": pool[np.sort(drawn)] if wanted else pool}


def _of(labels: NDArray[np.generic] | None, pool: Indices) -> NDArray[np.generic] | None:
    return None if labels is None or labels.ndim != 1 else labels[pool]


def count(held: Held, total: int, key: str) -> int:
    """The number of images that `held` means of `total`; a positive fraction means at least one image."""
    if isinstance(held, int):
        if held and held >= total:
            raise ConfigError(f"cannot hold out {held} of {total} training images", f"key {key}", "hold out fewer")
        return held
    return max(1, round(held * total)) if held > 0 else 0


def limited(train: Indices, limit: int | None, seed: int) -> Indices:
    """`limit` images of train, drawn by seed; those of a smaller limit are among those of a larger one."""
    if limit is None or limit >= len(train):
        return train
    return np.sort(train[drawn_order(len(train), None, seed)[:limit]])


def drawn_order(n: int, labels: NDArray[np.generic] | None, seed: int) -> Indices:
    """A permutation of n, drawn by seed; with classes, every contiguous part has the class proportions."""
    order = torch.randperm(n, generator=generator(seed, "split")).numpy()
    if labels is None or labels.ndim != 1:
        return order
    depth = np.empty(n)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        depth[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(depth, kind="stable")]

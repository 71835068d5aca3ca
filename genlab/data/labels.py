"""Fewer labels, fewer classes: which rows of the splits are kept."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import MinLen
from numpy.typing import NDArray

from genlab.data.sampler import generator
from genlab.data.splits import Rows
from genlab.errors import ConfigError
from genlab.registry import NonNegativeInt

OUTSIDE = "outside"  # the split of what `of_classes` takes away from validation
Classes = Annotated[list[NonNegativeInt], MinLen(1)]


def of_classes(
    splits: dict[str, Rows], labels: NDArray[Any] | None, classes: Classes | None, key: str = "dataset.classes"
) -> dict[str, Rows]:
    """`train` and `valid` with images of these classes only; `test` keeps all.

    What is taken from `valid` becomes the split `outside`: against it a model of few classes can be judged while it
    trains, without test data. ConfigError, naming the `key` at fault, where a class is not there.
    """
    if classes is None:
        return splits
    labels = _numbers(labels, key)
    there = np.unique(labels[np.concatenate(list(splits.values()))])
    missing = sorted(set(classes).difference(there.tolist()))
    if missing:
        known = f"the data set has the classes {', '.join(map(str, there.tolist()[:20]))}"
        raise ConfigError(f"no image is of class {missing[0]}", f"key {key}; {known}", "choose among them")
    inside = {name: np.isin(labels[splits[name]], classes) for name in ("train", "valid")}
    if not inside["train"].any():
        raise ConfigError("no training image is of these classes", f"key {key}", "add a class")
    kept = {name: splits[name][mask] for name, mask in inside.items()}
    return {**splits, **kept, OUTSIDE: splits["valid"][~inside["valid"]]}


def balanced(
    train: Rows, labels: NDArray[Any] | None, n: int | None, seed: int, key: str = "dataset.num_labels"
) -> Rows:
    """`n` rows of train with equally many of each class, drawn by seed; a smaller draw lies within a larger one.

    Where `n` is no multiple of the number of classes, some have one more. ConfigError, naming the `key` at fault, where
    a class has too few.
    """
    if n is None:
        return train
    labels = _numbers(labels, key)
    order = train[_permutation(len(train), seed)]
    drawn = labels[order]
    classes = np.unique(drawn)
    classes = classes[_permutation(len(classes), seed)]  # which ones have one more
    members = [order[drawn == label] for label in classes]
    most = len(classes) * min(map(len, members))
    if not len(classes) <= n <= most:
        raise ConfigError(
            f"cannot label {n} images, as many of each class",
            f"key {key}; {len(classes)} classes, the smallest of {most // len(classes)} training images",
            f"give a number from {len(classes)} to {most}",
        )
    rounds = -(-n // len(classes))
    return np.sort(np.stack([rows[:rounds] for rows in members], axis=1).reshape(-1)[:n])


def _numbers(labels: NDArray[Any] | None, key: str) -> NDArray[Any]:
    if labels is None or labels.ndim != 1:
        raise ConfigError("these data have no classes, one for each image", f"key {key}", f"use {key}=null")
    return labels


def _permutation(n: int, seed: int) -> Rows:
    return torch.randperm(n, generator=generator(seed, "labels")).numpy()

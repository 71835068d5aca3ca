"""Training on fewer labels or fewer classes: the indices that are kept."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import MinLen
from numpy.typing import NDArray

from genlab.data.sampler import generator
from genlab.data.splits import Indices
from genlab.errors import ConfigError
from genlab.registry import NonNegativeInt

OUTSIDE = "outside"  # the split of the validation images that `with_classes` removes
Classes = Annotated[list[NonNegativeInt], MinLen(1)]


def with_classes(
    splits: dict[str, Indices], labels: NDArray[Any] | None, classes: Classes | None, key: str = "dataset.classes"
) -> dict[str, Indices]:
    """`train` and `valid` with images of these classes only; `test` keeps all.

    The images removed from `valid` become the split `outside`, on which a model of few classes can be evaluated while
    it trains, without test data. ConfigError, naming the `key` at fault, if a class has no image.
    """
    if classes is None:
        return splits
    labels = _classes(labels, key)
    present = np.unique(labels[np.concatenate(list(splits.values()))])
    missing = sorted(set(classes).difference(present.tolist()))
    if missing:
        known = f"the data set has the classes {', '.join(map(str, present.tolist()[:20]))}"
        raise ConfigError(f"no image is of class {missing[0]}", f"key {key}; {known}", "choose among them")
    inside = {name: np.isin(labels[splits[name]], classes) for name in ("train", "valid")}
    if not inside["train"].any():
        raise ConfigError("no training image is of these classes", f"key {key}", "add a class")
    kept = {name: splits[name][mask] for name, mask in inside.items()}
    return {**splits, **kept, OUTSIDE: splits["valid"][~inside["valid"]]}


def balanced(
    train: Indices, labels: NDArray[Any] | None, n: int | None, seed: int, key: str = "dataset.num_labels"
) -> Indices:
    """`n` images of train, equally many of each class, drawn by seed; a smaller draw is contained in a larger one.

    If `n` is not a multiple of the number of classes, some have one more. ConfigError, naming the `key` at fault, if a
    class has too few.
    """
    if n is None:
        return train
    labels = _classes(labels, key)
    order = train[_permutation(len(train), seed)]
    drawn = labels[order]
    classes = np.unique(drawn)
    classes = classes[_permutation(len(classes), seed)]  # which ones have one more
    members = [order[drawn == label] for label in classes]
    most = len(classes) * min(map(len, members))
    if not len(classes) <= n <= most:
        raise ConfigError(
            f"cannot take {n} labeled images, equally many of each class",
            f"key {key}; {len(classes)} classes, the smallest of {most // len(classes)} training images",
            f"give a number from {len(classes)} to {most}",
        )
    rounds = -(-n // len(classes))
    return np.sort(np.stack([each[:rounds] for each in members], axis=1).reshape(-1)[:n])


def _classes(labels: NDArray[Any] | None, key: str) -> NDArray[Any]:
    if labels is None or labels.ndim != 1:
        raise ConfigError("these data do not have one class per image", f"key {key}", f"use {key}=null")
    return labels


def _permutation(n: int, seed: int) -> Indices:
    return torch.randperm(n, generator=generator(seed, "labels")).numpy()

"""Frozen features of labelled images, as scikit-learn takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from genlab import noise
from genlab.errors import ConfigError
from genlab.model import Encodes, Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genlab.data.dataset import Split

Kind = Literal["code", "pixels"]  # what a feature vector is


def features(model: Model, split: Split, kind: Kind, batch_size: int) -> NDArray[np.float32]:
    """The flattened codes (or pixels) of all images of a split, float32 (N, D), made on the model's device."""
    columns = ["image", *(model.conditions if kind == "code" else ())]
    parts: list[Tensor] = []
    for image, *conditions in split.batches(columns, batch_size):
        code = model.encode(image, *conditions) if kind == "code" else image  # type: ignore[operator]
        parts.append(code.flatten(1).float().cpu())
    return torch.cat(parts).numpy()


def labels(split: Split) -> NDArray[np.int64]:
    """One class for each image of a split, (N,); ConfigError where an image has several or none."""
    parts = [label for (label,) in split.batches(("label",), 10_000)]
    if parts[0].ndim > 1:
        raise ConfigError(
            f"data set '{split.table.name}' has several attributes an image", "column label", "use one with classes"
        )
    return torch.cat(parts).cpu().numpy()


def labelled(split: Split, count: int | None) -> Split:
    """`count` images of a split, as many of each class, drawn by the evaluation's seed; all of them if None."""
    if count is None:
        return split
    chosen = balanced(labels(split), count)
    return replace(split, rows=split.rows[torch.from_numpy(chosen).to(split.rows.device)])


def balanced(label: Sequence[int] | NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The positions, rising, of `count` labels in nearly equal numbers of each class; ConfigError if a class lacks.

    Where the classes do not divide `count`, the first ones have one more.
    """
    label = np.asarray(label)
    shuffled = noise.uniform(len(label), like=torch.empty(0)).argsort().numpy()
    classes = np.unique(label)
    share, rest = divmod(count, len(classes))
    taken = []
    for number, each in enumerate(classes):
        wanted = share + (number < rest)
        members = shuffled[label[shuffled] == each][:wanted]
        if len(members) < wanted:
            raise ConfigError(
                f"class {each} has {len(members)} labelled images, not {wanted}",
                "key labels",
                f"use labels={len(members) * len(classes)} or less",
            )
        taken.append(members)
    return np.sort(np.concatenate(taken))


def check_kind(model: Model, kind: Kind) -> bool:
    """Whether a model has such features."""
    return kind == "pixels" or isinstance(model, Encodes)


def standardised(train: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[Any]]:
    """All of them, in place, less the mean of `train`, over its deviation, by feature; constant ones become 0."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(copy=False).fit(train)  # the features of 60,000 images are large enough once
    return [scaler.transform(each) for each in (train, *others)]

"""Frozen features of labeled images, as arrays for scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from genlab.core.model import Encodes, Model
from genlab.data.dataset import Split
from genlab.data.subsets import balanced
from genlab.errors import ConfigError
from genlab.evaluation.latent import codes

Kind = Literal["code", "pixels"]  # the source of a feature vector


def features(model: Model, split: Split, kind: Kind, batch_size: int) -> NDArray[np.float32]:
    """The flattened codes (or pixels) of all images of a split, float32 (N, D), made on the model's device."""
    if kind == "code":
        return codes(model, split, batch_size=batch_size).numpy()
    return torch.cat([image.flatten(1).cpu() for (image,) in split.batches(("image",), batch_size)]).numpy()


def labels(split: Split) -> NDArray[np.int64]:
    """One class for each image of a split, (N,); ConfigError where an image has several or none."""
    classes = split.classes()
    if classes is None:
        raise ConfigError(
            f"data set '{split.table.name}' has no labels, or several attributes an image",
            "column label",
            "use one with classes",
        )
    return classes.numpy()


def labeled(split: Split, count: int | None) -> Split:
    """`count` images of a split, equally many of each class, chosen by the evaluation's seed; all of them if None.

    ConfigError if they are all of one class, from which no classifier can be trained.
    """
    classes = labels(split)
    if len(np.unique(classes)) < 2:
        raise ConfigError(
            f"every image of the {split.name} split is of class {classes[0]}, and a classifier needs two classes",
            "key dataset.classes",
            "use a run on more classes, or evaluator=anomaly",
        )
    if count is None:
        return split
    chosen = balanced(np.arange(len(split)), classes, count, int(torch.randint(2**31, ())), "num_labels")
    return replace(split, indices=split.indices[torch.from_numpy(chosen).to(split.indices.device)])


def check_kind(model: Model, kind: Kind) -> bool:
    """Whether a model has features of images alone: a code that holds the label would reveal it."""
    return kind == "pixels" or (isinstance(model, Encodes) and not model.conditions)


def standardized(train: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[Any]]:
    """All of them, in place, standardized by the mean and deviation of `train`; constant features become 0."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(copy=False).fit(train)  # the features of 60,000 images are large
    return [scaler.transform(each) for each in (train, *others)]

"""Frozen features of labelled images, as scikit-learn takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from genlab.core.model import Encodes, Model
from genlab.data.labels import balanced
from genlab.errors import ConfigError
from genlab.evaluation.latent import codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genlab.data.dataset import Split

Kind = Literal["code", "pixels"]  # what a feature vector is


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
    """`count` images of a split, as many of each class, drawn by the evaluation's seed; all of them if None.

    ConfigError where they are all of one class: there is nothing for a classifier to learn.
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
    return replace(split, rows=split.rows[torch.from_numpy(chosen).to(split.rows.device)])


def check_kind(model: Model, kind: Kind) -> bool:
    """Whether a model has such features, of images alone: a code that holds the label says nothing of the model."""
    return kind == "pixels" or (isinstance(model, Encodes) and not model.conditions)


def standardized(train: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[Any]]:
    """All of them, in place, less the mean of `train`, over its deviation, by feature; constant ones become 0."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(copy=False).fit(train)  # the features of 60,000 images are large enough once
    return [scaler.transform(each) for each in (train, *others)]

"""Class labels as inputs of networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genlab.errors import ConfigError


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Classes (N,) to float32 (N, classes)."""
    return (label[:, None] == torch.arange(classes, device=label.device)).float()


def with_planes(image: Tensor, label: Tensor, classes: int) -> Tensor:
    """Images (N, C, H, W) with one more channel per class: ones for the image's class, zeros for the others."""
    planes = one_hot(label, classes).to(image.dtype)[:, :, None, None]
    return torch.cat([image, planes.expand(-1, -1, *image.shape[2:])], 1)


def in_turn(n: int, classes: int, label: int | Sequence[int] | None, like: Tensor) -> Tensor:
    """n labels (n,) on the device of `like`: all `label`, those of a list in turn, or, for None, all classes in turn.

    ConfigError for a label outside [0, classes).
    """
    wanted = range(classes) if label is None else [label] if isinstance(label, int) else label
    for each in wanted:
        if not 0 <= each < classes:
            raise ConfigError(f"there is no class {each}", "key label", f"give a label from 0 to {classes - 1}")
    count = torch.arange(n, device=like.device)
    return torch.tensor(list(wanted), device=like.device)[count % len(wanted)]


def needed(num_classes: int | None, model: str) -> int:
    """`num_classes`; ConfigError if the data set has no labels."""
    if num_classes is None:
        raise ConfigError(
            f"model '{model}' needs labels", "the data set has none", "choose a labeled one: genlab list datasets"
        )
    return num_classes

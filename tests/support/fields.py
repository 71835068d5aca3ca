"""Known functions in place of the networks of diffusion and flow models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from genlab.nn.diffusion.guidance import GuidedModel

POINT = (2, 1, 1)
NETWORK = {"name": "film_mlp", "width": 8, "layers": 1}
M = TypeVar("M", bound=GuidedModel)


class Field(nn.Module):
    """function(x, t, label), t of shape (N, 1, 1, 1) or, of two times, (N, 2, 1, 1); `labels` keeps the labels seen."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function, self.labels = function, list[Tensor]()
        self.register_buffer("here", torch.zeros(()))  # where the model draws its noise

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        self.labels += [] if label is None else [label]
        return self.function(x, time.reshape(len(x), -1, 1, 1), label)


def known(
    kind: type[M], function: Callable[..., Tensor] | None = None, shape: tuple[int, int, int] = POINT, **options: Any
) -> M:
    """A model of three classes with this function for its network, or with a tiny network."""
    made = kind(**{"image_shape": shape, "network": NETWORK, "num_classes": 3, **options})
    if function:
        made.network = Field(function)
    return made

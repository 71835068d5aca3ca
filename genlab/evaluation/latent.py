"""The codes of a split, and traversals of them; used by evaluators and commands."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Encodes, Model
from genlab.data.dataset import Split

BATCH = 500


def codes(model: Model, split: Split, batch_size: int = BATCH) -> Tensor:
    """The codes (N, D) of a split's images, float32 on the host."""
    assert isinstance(model, Encodes)
    found: list[Tensor] = []
    for index, columns in enumerate(split.batches(("image", *model.conditions), batch_size)):
        rng.fold_in(index)  # a batch has its own noise, however many there are
        found.append(model.encode(*columns).flatten(1).float().cpu())
    return torch.cat(found)


def most_varying(codes: Tensor, dimensions: int) -> list[int]:
    """The dimensions of codes (N, D) with the largest deviations, largest first."""
    deviation = codes.std(0, correction=0)
    return deviation.argsort(descending=True, stable=True)[:dimensions].tolist()


def traversals(codes: Tensor, index: int, dimensions: int, columns: int, reach: float) -> Tensor:
    """Code number `index`, changed along one dimension at a time: (dimensions, columns, D), most varying ones first.

    A traversal spans `reach` standard deviations to either side of the mean, both those of `codes` (N, D); the other
    dimensions keep their values.
    """
    mean, deviation = codes.mean(0), codes.std(0, correction=0)
    chosen = most_varying(codes, dimensions)
    found = codes[index].repeat(len(chosen), columns, 1)
    steps = torch.linspace(-reach, reach, columns, device=codes.device)
    for traversal, dimension in zip(found, chosen, strict=True):
        traversal[:, dimension] = mean[dimension] + steps * deviation[dimension]
    return found

"""Corrupted images and their restoration, by whichever way a model has: for the evaluators and `genlab denoise`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.model import Denoises, Inpaints
from genlab.nn.augment.corruptions import GRAY, box_mask
from genlab.registry import CORRUPTIONS


@dataclass(frozen=True)
class Corrupted:
    """Corrupted images (N, C, H, W), and what is known of the corruption."""

    image: Tensor
    mask: Tensor | None = None  # true where pixels were replaced, (N, 1, H, W); the others are those of the image
    sigma: float | None = None  # of Gaussian noise


Corrupt = Callable[[Tensor], Corrupted]


def with_noise(corruption: str, amount: float, where: str) -> Corrupt:
    """A registered corruption of a fixed amount; `where` is named in the message for a bad one."""
    corrupt = CORRUPTIONS.build({"name": corruption, "amount": amount}, where)
    sigma = amount if corruption == "gaussian" else None
    return lambda image: Corrupted(corrupt(image), sigma=sigma)


def with_box(fraction: float) -> Corrupt:
    """A gray square at a random position, of `fraction` of the shorter side."""

    def corrupt(image: Tensor) -> Corrupted:
        mask = box_mask(image, fraction)
        return Corrupted(image.masked_fill(mask, GRAY), mask)

    return corrupt


def restore(
    model: Any, corrupted: Corrupted, conditions: list[Tensor], options: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """The `restored` images and, of a model that samples clean images given noisy ones, such samples (`sampled`).

    Where it is known which pixels are unknown, the others stay. `options` are those of the model's own method.
    """
    if corrupted.mask is not None and isinstance(model, Inpaints):
        return {"restored": model.inpaint(corrupted.image, corrupted.mask, **(options or {}))}
    if corrupted.sigma is not None and isinstance(model, Denoises):
        mean, sample = model.denoise(corrupted.image, corrupted.sigma, **(options or {}))
        return {"restored": mean, "sampled": sample}
    return {"restored": keeping_known(corrupted, model.reconstruct(corrupted.image, *conditions))}


def keeping_known(corrupted: Corrupted, restored: Tensor) -> Tensor:
    """`restored` where pixels are unknown, or everywhere if that is not known."""
    return restored if corrupted.mask is None else torch.where(corrupted.mask, restored, corrupted.image)

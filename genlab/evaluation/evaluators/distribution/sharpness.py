"""The sharpness of a model's images relative to real ones: a pixel likelihood typically causes blur."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Reconstructs, Samples
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.registry import EVALUATORS, PositiveInt


@EVALUATORS("sharpness")
@dataclass
class Sharpness(Evaluator):
    """Two measures of reconstructions and of as many samples, each divided by that of the real images of the split.

    `edges`: the length of the brightness gradient, from differences of neighboring pixels, mean over pixels. `detail`:
    the energy of waves shorter than four pixels. 1 is as sharp as the real images. Noise also makes both large, so they
    measure blur only of images that look real. `real_edges` is the divisor itself, per pixel.
    """

    images: PositiveInt = 1000
    batch_size: PositiveInt = 250

    needs = (Reconstructs | Samples,)
    notes = {
        "edges": "mean length of the gray gradient, over that of the real images",
        "detail": "energy of waves shorter than four pixels, over that of the real images",
    }

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        columns = split.take(self.images, ("image", *model.conditions))
        totals: dict[str, Tensor] = {}
        for image, *conditions in zip(*(column.split(self.batch_size) for column in columns), strict=True):
            found = {"real": image}
            if isinstance(model, Reconstructs):
                found["reconstructions"] = model.reconstruct(image, *conditions)
            if isinstance(model, Samples):
                found["samples"] = model.sample(len(image))
            for name, pixels in found.items():
                each = torch.stack([edges(pixels), detail(pixels)]).double().sum(1)
                totals[name] = totals[name] + each if name in totals else each
        real = totals.pop("real")
        for name, total in totals.items():
            yield from zip((f"{name}/edges", f"{name}/detail"), (total / real).tolist(), strict=True)
        yield "real_edges", real[0] / len(columns[0])


def gray(image: Tensor) -> Tensor:
    """Images (N, C, H, W) to the mean of their channels, (N, H, W)."""
    return image.float().mean(1)


def edges(image: Tensor) -> Tensor:
    """The mean length of the gradient, (N,): √(dx² + dy²) of differences to the right and lower neighbor."""
    x = gray(image)
    dx, dy = x[:, :-1, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, :-1]
    return torch.hypot(dx, dy).flatten(1).mean(1)


def detail(image: Tensor) -> Tensor:
    """The mean square, (N,), of what waves shorter than four pixels (along x or y) contribute to the image."""
    x = gray(image)
    spectrum = torch.fft.fft2(x, norm="ortho").abs().square()
    high = [torch.fft.fftfreq(side, device=x.device).abs() > 0.25 for side in x.shape[1:]]  # in waves per pixel
    return (spectrum * (high[0][:, None] | high[1])).flatten(1).mean(1)

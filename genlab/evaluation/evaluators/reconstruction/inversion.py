"""The error of a generator's best reconstruction of an image: a search among its codes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor

from genlab.core import rng
from genlab.core.evaluator import Evaluator
from genlab.core.model import Decodes, Encodes, HasPrior
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.evaluators.reconstruction.reconstruction import errors
from genlab.evaluation.projection import nearest_codes, project
from genlab.registry import EVALUATORS, Count, PositiveFloat, PositiveInt
from genlab.reports.grid import image_grid

SAMPLED = 1000  # codes from the prior, among which those to start from are found
TOGETHER = 400  # codes that are moved at the same time


@EVALUATORS("inversion")
@dataclass
class Inversion(Evaluator):
    """`squared_error`: of the image nearest to the given one that Adam finds, summed over pixels, mean over images.

    The search is that of `genlab project`: `steps` of size `rate` from each of the `starts` codes whose images are
    nearest among 1,000 samples and, with `encoder`, from the code that the model's encoder gives, if it has one; the
    best end counts. Codes move freely, labels in them too. `code_norm` is the mean norm of the codes found over that
    of codes from the prior: far above 1, the model would hardly generate these images. `encoder_squared_error` is the
    error of the encoder's code itself. A GAN reconstructs nothing by itself: only figures of one search, for codes of
    the same length, can be compared. Karras et al. 2020 (arXiv:1912.04958), section 5.
    """

    n: Annotated[int, Gt(1)] = 200
    steps: PositiveInt = 300
    starts: Count = 3
    encoder: bool = True
    rate: PositiveFloat = 0.1
    columns: Count = 10

    needs = (Decodes, HasPrior)
    notes = {
        "search": f"Adam on the squared error, from the nearest of {SAMPLED} samples; noise on codes that vanishes",
        "error": "summed over pixels of images in [0, 1]; standard error over images",
    }

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        image, *conditions = split.take(self.n, ("image", *model.conditions))
        began, codes = time.perf_counter(), model.prior(SAMPLED)
        starts = nearest_codes(model.decode, codes, image, min(self.starts, SAMPLED))
        own = model.encode(image, *conditions) if self.encoder and isinstance(model, Encodes) else None
        if own is not None:
            starts = torch.cat([starts, own[:, None]], 1)
        code, error = self.search(model, image, starts, float(codes.std()))
        error = error.cpu()  # waits for the device, whose work the clock counts
        seconds = time.perf_counter() - began
        found = model.decode(code)
        self.found = {"images": len(image), "code_dim": code.shape[1], "encoder_start": own is not None}
        yield "squared_error", error.mean()
        yield "squared_error_se", error.std() / len(error) ** 0.5
        yield "psnr", errors(found, image)["psnr"].double().mean()
        yield "code_norm", code.norm(dim=1).mean() / codes.norm(dim=1).mean()
        if own is not None:
            yield "encoder_squared_error", errors(model.decode(own), image)["squared_error"].mean()
        yield "seconds_per_image", seconds / len(image)
        if not split.points:
            yield "inversion", _grid(image, found, min(self.columns, len(image)))

    def search(self, model: Any, image: Tensor, starts: Tensor, spread: float) -> tuple[Tensor, Tensor]:
        """The best codes (N, D) from `starts` (N, S, D), and their squared errors (N,), float64."""
        found: list[tuple[Tensor, Tensor]] = []
        size = max(1, TOGETHER // starts.shape[1])
        for index, (target, begin) in enumerate(zip(image.split(size), starts.split(size), strict=True)):
            rng.fold_in(index)
            targets = target.repeat_interleave(begin.shape[1], 0)
            codes = project(model.decode, begin.flatten(0, 1), spread, targets, self.steps, self.rate)
            error = errors(model.decode(codes), targets)["squared_error"].unflatten(0, begin.shape[:2])
            lowest, place = error.min(1)
            found.append((codes.unflatten(0, begin.shape[:2])[torch.arange(len(target)), place], lowest))
        codes, lowest = (torch.cat(parts) for parts in zip(*found, strict=True))
        return codes, lowest


def _grid(image: Tensor, found: Tensor, columns: int) -> Value:
    """Rows of images, each above the row of those found; at most two of each."""
    whole = min(len(image) // columns, 2) * columns
    rows = zip(image[:whole].split(columns), found[:whole].split(columns), strict=True)
    return image_grid(torch.cat([row for pair in rows for row in pair]), columns)

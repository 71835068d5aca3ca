"""The log-likelihood of images under a model with codes, by importance sampling.

log p(x) ≈ log 1/K Σ_k p(x, z_k) / q(z_k|x) with z_k from q(z|x): a lower bound in expectation, exact as K grows.
Rezende, Mohamed & Wierstra 2014 (arXiv:1401.4082), appendix E; Burda, Grosse & Salakhutdinov 2016, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab import noise
from genlab.model import Model, Weighs
from genlab.registry import EVALUATORS, Cadence, PositiveInt
from genlab.results import Value

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("nll")
class ImportanceSampledNLL:
    """−log p(x) in nats an image, the mean over the split's first `images` (null: all), with its standard error.

    `samples` is K, `chunk` how many pairs of image and code are decoded at once. A model that binarises images sees
    each of them binarised once. `bits_per_dim` is the same per pixel and channel, for laws of the 256 greys.
    """

    split: str | None = "valid"

    def __init__(
        self,
        samples: PositiveInt = 5000,
        images: PositiveInt | None = None,
        chunk: PositiveInt = 1000,
        every: Cadence = None,
    ) -> None:
        self.samples, self.images, self.chunk, self.every = samples, images, chunk, every
        self.binarised = False

    def applies(self, model: Model) -> bool:
        return isinstance(model, Weighs)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        each, dimensions = self.each(model, split)
        yield "nll", each.mean()
        yield "nll_error", each.std(correction=0) / math.sqrt(len(each))
        yield "bits_per_dim", each.mean() / math.log(2) / dimensions

    def each(self, model: Model, split: Split) -> tuple[Tensor, int]:
        """−log p(x) of each image, float64, and the number of an image's pixels and channels."""
        assert isinstance(model, Weighs)
        assert isinstance(model, Model)
        rows = max(1, self.chunk // self.samples)
        wanted = self.images or len(split)
        found: list[Tensor] = []
        dimensions = 0
        for index, (image, *conditions) in enumerate(split.batches(("image", *model.conditions), rows)):
            if index * rows >= wanted:
                break
            noise.branch(index)
            x = model.observe(image)
            self.binarised, dimensions = x is not image, x[0].numel()
            found.append(-self.log_likelihood(model, x, *conditions))
        return torch.cat(found)[:wanted], dimensions

    def log_likelihood(self, model: Weighs, x: Tensor, *conditions: Tensor) -> Tensor:
        """log 1/K Σ w_k of each image (N,), float64, the samples drawn a chunk at a time."""
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        left = self.samples
        while left:
            part = min(left, max(1, self.chunk // len(x)))
            log_w = model.log_weights(x, part, *conditions).double()
            total = torch.logaddexp(total, torch.logsumexp(log_w, 1))
            left -= part
        return total - math.log(self.samples)

    def protocol(self) -> dict[str, Any]:
        return {
            "estimate": "importance sampling with q(z|x), or the prior where there is no q",
            "samples": self.samples,
            "images": self.images or "all",
            "pixels": "binarised once, each by its grey" if self.binarised else "as they are",
            "units": "nats an image",
        }

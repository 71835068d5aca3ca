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

from genlab.core import rng
from genlab.core.model import ImportanceSampled, Model
from genlab.core.values import Value
from genlab.nn.losses.output_distribution import OutputDistribution
from genlab.registry import EVALUATORS, Cadence, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split

BLOCK = 500  # images that are binarised together
MEANING = {
    "bernoulli": "minus the log probability of black and white pixels",
    "grey": "cross entropy of grey pixels, not a likelihood",
    "gaussian": "minus the log of a density",
    "logistic": "minus the log probability of 256 greys",
}


@EVALUATORS("nll")
class ImportanceSampledNLL:
    """−log p(x) in nats an image, the mean over the split's first `images` (null: all), with its standard error.

    `samples` is K, `chunk` how many pairs of image and code are decoded at once. A model that binarises images sees
    each of them binarised once, the same way whatever `samples`, `chunk` and `images` are. With a law of the 256 greys
    there is `bits_per_dim` too, the same per pixel and channel. A conditional model's number is −log p(x|y).
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
        self.seen: dict[str, Any] = {}  # what the last measurement was of

    def applies(self, model: Model) -> bool:
        return isinstance(model, ImportanceSampled)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        totals, rows = self.sums(model, split, 0, 1)
        yield from self.figures({name: float(total) for name, total in totals.items()}, rows)

    def sums(self, model: Model, split: Split, rank: int, world_size: int) -> tuple[dict[str, Tensor], int]:
        """Over the images of this rank's blocks: the sums of −log p(x), its square and its bits; how many these are."""
        totals: dict[str, Tensor] = {}
        rows = 0
        for each, dimensions in self.blocks(model, split, rank, world_size):
            found = {"nll": each, "square": each.square()}
            if output_distribution_of(model) == "logistic":
                found["bits_per_dim"] = each / math.log(2) / dimensions
            totals = {name: totals.get(name, 0) + values.sum() for name, values in found.items()}
            rows += len(each)
        return totals, rows

    def figures(self, totals: dict[str, float], rows: float) -> Iterator[tuple[str, Value]]:
        """The means, and the mean's standard error."""
        means = {name: total / rows for name, total in totals.items()}
        variance = max(0.0, means.pop("square") - means["nll"] ** 2)
        yield from means.items()
        yield "nll_error", math.sqrt(variance / rows)

    def blocks(self, model: Model, split: Split, rank: int, world_size: int) -> Iterator[tuple[Tensor, int]]:
        """−log p(x) of each image of a block, float64, and the number of an image's pixels and channels."""
        assert isinstance(model, ImportanceSampled)
        assert isinstance(model, Model)
        wanted = min(self.images or len(split), len(split))
        for index, (image, *conditions) in enumerate(
            split.batches(("image", *model.conditions), BLOCK, rank, world_size)
        ):
            block = rank + index * world_size
            left = wanted - block * BLOCK
            if left <= 0:
                break
            rng.branch(2 * block)
            x = model.observe(image)
            self.note(model, x, binarized=x is not image)
            rng.branch(2 * block + 1)  # the codes' own noise: how many are drawn changes no pixel
            columns = [column[:left].split(max(1, self.chunk // self.samples)) for column in (x, *conditions)]
            nll = [-self.log_likelihood(model, *part) for part in zip(*columns, strict=True)]
            yield torch.cat(nll), x[0].numel()

    def log_likelihood(self, model: ImportanceSampled, x: Tensor, *conditions: Tensor) -> Tensor:
        """log 1/K Σ w_k of each image (N,), float64, the samples drawn a chunk at a time."""
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        left = self.samples
        while left:
            part = min(left, max(1, self.chunk // len(x)))
            log_w = model.log_weights(x, part, *conditions).double()
            total = torch.logaddexp(total, torch.logsumexp(log_w, 1))
            left -= part
        return total - math.log(self.samples)

    def note(self, model: Model, x: Tensor, binarized: bool) -> None:
        """What a reader of the figures must know of the model and of the images `x` that it judged."""
        distribution = output_distribution_of(model)
        gray = distribution == "bernoulli" and bool(((x > 0) & (x < 1)).any())
        meaning = MEANING["grey" if gray else distribution]
        given = {"given": list(model.conditions)} if model.conditions else {}
        pixels = f"binarised once, each by its grey, in blocks of {BLOCK} images" if binarized else "as they are"
        self.seen = {"pixels": pixels, "nll": meaning, **given}

    def protocol(self) -> dict[str, Any]:
        return {
            "estimate": "importance sampling with q(z|x), or the prior where there is no q",
            "samples": self.samples,
            "images": self.images or "all",
            "chunk": self.chunk,
            **self.seen,
            "units": "nats an image",
        }


def output_distribution_of(model: Model) -> str:
    """The law of a pixel; a model that names none has Bernoulli pixels."""
    distribution = getattr(model, "law", None)
    return distribution.likelihood if isinstance(distribution, OutputDistribution) else "bernoulli"

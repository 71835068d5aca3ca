"""The log-likelihood of images under a model with codes, by importance sampling.

log p(x) ≈ log 1/K Σ_k p(x, z_k) / q(z_k|x) with z_k from q(z|x): a lower bound in expectation, exact as K grows.
Rezende, Mohamed & Wierstra 2014 (arXiv:1401.4082), appendix E; Burda, Grosse & Salakhutdinov 2016, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.evaluator import MeanEvaluator
from genlab.core.model import ImportanceSampled, Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.nn.losses.likelihood import OutputDistribution
from genlab.registry import EVALUATORS, PositiveInt

BLOCK = 500  # images that are binarized together
BINARIZED = f"binarized once, at random by gray value, in blocks of {BLOCK}"
MEANING = {
    "bernoulli": "minus the log probability of black and white pixels",
    "gray": "cross entropy of gray pixels, not a likelihood",
    "gaussian": "minus the log of a density",
    "logistic": "minus the log probability of 256 levels",
}


@dataclass
class BlockwiseNLL(MeanEvaluator):
    """−log p(x) in nats per image, the mean over `images` of the split (null: all), with its standard error.

    A model that changes images at random (binarizes, dequantizes) receives each image changed once, independently of
    how many images there are and how they are processed.
    """

    images: PositiveInt | None = None

    def nll(self, model: Any, x: Tensor, *conditions: Tensor) -> Tensor:
        """−log p(x) of each observation (N,), float64."""
        raise NotImplementedError

    def has_bits_per_dim(self, model: Any) -> bool:
        """Whether the figures include bits per dimension."""
        raise NotImplementedError

    def note(self, model: Any, x: Tensor, changed: bool) -> None:
        """Add to the protocol what `nll` means for this model and for its observations x."""
        raise NotImplementedError

    def batches(self, model: Any, split: Split, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        for each, dimensions in self.blocks(model, split, rank, world_size):
            found = {"nll": each.sum(), "square": each.square().sum()}
            if self.has_bits_per_dim(model):
                found["bits_per_dim"] = (each / math.log(2) / dimensions).sum()
            yield len(each), found

    def figures(self, totals: dict[str, float], n: float) -> Iterator[tuple[str, Value]]:
        """The means, and the standard error of the first."""
        means = {name: total / n for name, total in totals.items()}
        variance = max(0.0, means.pop("square") - means["nll"] ** 2)
        yield from means.items()
        yield "nll_se", math.sqrt(variance / n)

    def blocks(self, model: Any, split: Split, rank: int, world_size: int) -> Iterator[tuple[Tensor, int]]:
        """−log p(x) of each image of a block, float64, and the number of dimensions of an image."""
        measured = split.drawn(self.images) if self.images else split
        for index, (image, *conditions) in enumerate(
            measured.batches(("image", *model.conditions), BLOCK, rank, world_size)
        ):
            block = rank + index * world_size
            rng.fold_in(2 * block)
            x = model.observe(image)
            self.note(model, x, changed=x is not image)
            rng.fold_in(2 * block + 1)  # the codes have noise of their own: their number does not change the pixels
            columns = [column.split(self.at_once()) for column in (x, *conditions)]
            yield torch.cat([self.nll(model, *part) for part in zip(*columns, strict=True)]), x[0].numel()

    def at_once(self) -> int:
        """How many images `nll` receives at a time."""
        raise NotImplementedError

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "images": self.images or "all"}


@EVALUATORS("nll")
@dataclass
class ImportanceSampledNLL(BlockwiseNLL):
    """−log p(x) in nats per image, the mean over `images` of the split (null: all), with its standard error.

    `samples` is K; `chunk` is the number of pairs of image and code decoded at once. A model that binarizes images
    receives each image binarized once, independently of `samples`, `chunk` and `images`. With a distribution over 256
    levels there is also `bits_per_dim`, per pixel and channel. A conditional model's figure is −log p(x|y).
    """

    samples: PositiveInt = 5000
    chunk: PositiveInt = 1000

    needs = (ImportanceSampled,)
    notes = {"estimate": "importance sampling with q(z|x), or the prior where there is no q", "units": "nats per image"}

    def at_once(self) -> int:
        return max(1, self.chunk // self.samples)

    def has_bits_per_dim(self, model: Any) -> bool:
        return output_distribution_of(model) == "logistic"

    def nll(self, model: ImportanceSampled, x: Tensor, *conditions: Tensor) -> Tensor:
        """−log 1/K Σ w_k of each image (N,), float64, a chunk of samples at a time."""
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        left = self.samples
        while left:
            part = min(left, max(1, self.chunk // len(x)))
            log_w = model.log_weights(x, part, *conditions).double()
            total = torch.logaddexp(total, torch.logsumexp(log_w, 1))
            left -= part
        return math.log(self.samples) - total

    def note(self, model: Model, x: Tensor, changed: bool) -> None:
        distribution = output_distribution_of(model)
        gray = distribution == "bernoulli" and bool(((x > 0) & (x < 1)).any())
        conditions = {"given": list(model.conditions)} if model.conditions else {}
        pixels = BINARIZED if changed else "as they are"
        self.found = {
            **type(self).notes,
            "pixels": pixels,
            "nll": MEANING["gray" if gray else distribution],
            **conditions,
        }


def output_distribution_of(model: Model) -> str:
    """The distribution of a pixel; Bernoulli if the model does not name one."""
    distribution = getattr(model, "output_distribution", None)
    return distribution.likelihood if isinstance(distribution, OutputDistribution) else "bernoulli"

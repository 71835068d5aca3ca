"""How much of a codebook is used, and what images cost in bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.evaluator import Evaluator, MeanEvaluator
from genlab.core.model import BitsPerDim, HasCodebook, Model
from genlab.core.values import UNTAUGHT, Diagnosis, Image, Value
from genlab.data.dataset import Split
from genlab.nn.layers.vector_quantizer import perplexity
from genlab.registry import EVALUATORS, Fraction, PositiveInt

HEIGHT = 128  # of the histogram, in pixels
EARLY = 0.25  # fraction of training up to which unused codes may still find a use


@EVALUATORS("codebook")
@dataclass
class CodebookUse(Evaluator):
    """Over every image of a split: the fraction of codes in use, their perplexity, a histogram.

    Perplexity is exp of the entropy of the codes' frequencies: `num_embeddings` under uniform use. A split of few
    positions cannot use all codes: the diagnosis compares with what uniform use would reach at as many positions.
    """

    batch_size: PositiveInt = 500
    least: Fraction = 0.2

    needs = (HasCodebook,)
    notes = {"codes": "at every position of every image of the split", "perplexity": "exp of the entropy in nats"}

    def run(self, model: HasCodebook, split: Split) -> Iterator[tuple[str, Value]]:
        tally = torch.zeros(model.num_embeddings, dtype=torch.float64)
        for (image,) in split.batches(("image",), self.batch_size):
            tally += model.indices(image).flatten().cpu().bincount(minlength=model.num_embeddings)
        used, spread = int((tally > 0).sum()), float(perplexity(tally))
        yield "code_use", used / model.num_embeddings
        yield "code_perplexity", spread
        yield "code_histogram", histogram(tally)
        positions = float(tally.sum())
        reachable = model.num_embeddings * -math.expm1(positions * math.log1p(-1 / model.num_embeddings))
        if used < self.least * reachable:
            yield "codebook", Diagnosis(_sentence(model, used, spread), EARLY, UNTAUGHT)


def _sentence(model: HasCodebook, used: int, spread: float) -> str:
    treatment = "reset unused codes sooner: model.dead_code_threshold=0.1"
    if model.dead_code_threshold >= 0.1:
        treatment = f"ask for fewer: model.num_embeddings={max(2, 2 ** math.ceil(math.log2(used)))}"
    use = f"{used} of {model.num_embeddings} codes are in use (perplexity {spread:.1f})"
    return f"the codebook collapses: {use}; {treatment}"


def histogram(tally: Tensor) -> Image:
    """The codes' frequencies as black bars, the most frequent first, the highest as high as the image."""
    wide = max(1, 512 // len(tally))
    heights = (tally.sort(descending=True).values / tally.max().clamp(min=1) * HEIGHT).ceil()
    bars = heights.repeat_interleave(wide)
    rows = torch.arange(HEIGHT, 0, -1, dtype=bars.dtype)
    return Image(torch.where(rows[:, None] <= bars, 0, 255).to(torch.uint8)[None])


@EVALUATORS("bits_per_dim")
@dataclass
class BitsPerDimEvaluator(MeanEvaluator):
    """The mean over a split of the cost of an image with 256 levels, in bits per pixel and channel.

    For a VQ-VAE an upper bound on −log₂ p(x): −log₂ p(x|k) − log₂ p(k) at the codes k of its deterministic encoder, one
    term of the sum over all maps of codes.
    """

    batch_size: PositiveInt = 500

    notes = {
        "bound": "-log2 p(x|k) - log2 p(k) at the encoder's k: an upper bound on -log2 p(x)",
        "levels": 256,
        "mean": "over the images of the split and the dimensions of an image",
    }

    def applies(self, model: Model) -> bool:
        return isinstance(model, BitsPerDim) and model.discrete

    def batches(self, model: Any, split: Split, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        columns = ("image", *getattr(model, "conditions", ()))
        for image, *conditions in split.batches(columns, self.batch_size, rank, world_size):
            reconstruction, code = (
                part.double().sum() / image[0].numel() / math.log(2) for part in model.bound(image, *conditions)
            )
            yield (
                len(image),
                {
                    "bits_per_dim": reconstruction + code,
                    "bits_per_dim_image": reconstruction,
                    "bits_per_dim_code": code,
                },
            )

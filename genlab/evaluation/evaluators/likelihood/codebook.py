"""How much of a codebook is used, and what images cost in bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core.model import BitsPerDim, HasCodebook, Model
from genlab.core.values import UNTAUGHT, Diagnosis, Picture, Value
from genlab.nn.layers.vector_quantizer import perplexity
from genlab.registry import EVALUATORS, Cadence, Duration, Fraction, PositiveInt

if TYPE_CHECKING:
    from genlab.data.dataset import Split

HEIGHT = 128  # of the histogram, in pixels
EARLY = 0.25  # share of training up to which codes that nothing needs yet may still find a use


@EVALUATORS("codebook")
class CodebookUse:
    """Over every image of a split: the share of codes that stand for something, the perplexity, a histogram.

    Perplexity is exp of the entropy of the codes' frequencies: `num_embeddings` under uniform use. A split of few
    positions cannot use all codes: the diagnosis compares with what an even use would reach in as many places.
    """

    split: str | None = "valid"

    def __init__(self, batch_size: PositiveInt = 500, least: Fraction = 0.2, every: Duration | None = "10%") -> None:
        self.batch_size, self.least, self.every = batch_size, least, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, HasCodebook)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, HasCodebook)
        tally = torch.zeros(model.num_embeddings, dtype=torch.float64)
        for (image,) in split.batches(("image",), self.batch_size):
            tally += model.indices(image).flatten().cpu().bincount(minlength=model.num_embeddings)
        used, spread = int((tally > 0).sum()), float(perplexity(tally))
        yield "code_use", used / model.num_embeddings
        yield "code_perplexity", spread
        yield "code_histogram", histogram(tally)
        places = float(tally.sum())
        reachable = model.num_embeddings * -math.expm1(places * math.log1p(-1 / model.num_embeddings))
        if used < self.least * reachable:
            yield "codebook", Diagnosis(_sentence(model, used, spread), EARLY, UNTAUGHT)

    def protocol(self) -> dict[str, Any]:
        return {"codes": "over every place of every image of the split", "perplexity": "exp of the entropy in nats"}


def _sentence(model: HasCodebook, used: int, spread: float) -> str:
    treatment = "give unused codes new places sooner: model.dead_code_threshold=0.1"
    if model.dead_code_threshold >= 0.1:
        treatment = f"ask for fewer: model.num_embeddings={max(2, 2 ** math.ceil(math.log2(used)))}"
    return (
        f"the codebook dies, {used} of {model.num_embeddings} codes are in use (perplexity {spread:.1f}); {treatment}"
    )


def histogram(tally: Tensor) -> Picture:
    """The codes' frequencies as black bars, the most frequent first, the highest as high as the picture."""
    wide = max(1, 512 // len(tally))
    heights = (tally.sort(descending=True).values / tally.max().clamp(min=1) * HEIGHT).ceil()
    bars = heights.repeat_interleave(wide)
    rows = torch.arange(HEIGHT, 0, -1, dtype=bars.dtype)
    return Picture(torch.where(rows[:, None] <= bars, 0, 255).to(torch.uint8)[None])


@EVALUATORS("bits_per_dim")
class BitsPerDimEvaluator:
    """The mean over a split of what an image of 256 levels costs, in bits for each number of it.

    For a VQ-VAE an upper bound on the model's −log₂ p(x): −log₂ p(x|k) − log₂ p(k), k the codes that its deterministic
    encoder gives, one term of the sum over all maps of codes.
    """

    split: str | None = "valid"

    def __init__(self, batch_size: PositiveInt = 500, every: Cadence = None) -> None:
        self.batch_size, self.every = batch_size, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, BitsPerDim) and model.discrete

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        totals, rows = self.sums(model, split, 0, 1)
        yield from ((name, total / rows) for name, total in totals.items())

    def sums(self, model: Model, split: Split, rank: int, world_size: int) -> tuple[dict[str, Tensor], int]:
        """The sums over the images of this rank's batches, and how many images these are."""
        assert isinstance(model, BitsPerDim)
        names = ("image", *model.conditions) if isinstance(model, Model) else ("image",)
        totals: dict[str, Tensor] = {}
        rows = 0
        for image, *conditions in split.batches(names, self.batch_size, rank, world_size):
            rows += len(image)
            reconstruction, code = (
                part.double().sum() / image[0].numel() / math.log(2) for part in model.bound(image, *conditions)
            )
            found = {
                "bits_per_dim": reconstruction + code,
                "bits_per_dim_image": reconstruction,
                "bits_per_dim_code": code,
            }
            totals = {name: totals.get(name, 0) + bits for name, bits in found.items()}
        return totals, rows

    def protocol(self) -> dict[str, Any]:
        return {
            "bound": "-log2 p(x|k) - log2 p(k) at the encoder's k: an upper bound on -log2 p(x)",
            "levels": 256,
            "mean": "over the images of the split and the numbers of an image",
        }

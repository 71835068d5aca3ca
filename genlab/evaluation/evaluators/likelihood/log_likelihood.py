"""The log-likelihood of images under a model that computes it: autoregressive models and flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genlab.core.model import HasLogLikelihood
from genlab.evaluation.evaluators.likelihood.nll import BINARIZED, BLOCK, BlockwiseNLL
from genlab.registry import EVALUATORS, PositiveInt

MEANING = {
    "binary": ("minus the log probability of black and white pixels", BINARIZED),
    "levels": ("minus the log probability of 256 levels", "rounded to 256 levels"),
    "dequantized": (
        "minus the log density at pixels with uniform noise, a level having volume 1",
        f"uniform noise of one level's width, drawn once, in blocks of {BLOCK}",
    ),
    "density": ("minus the log of a density", "as they are"),
}


@EVALUATORS("log_likelihood")
@dataclass
class LogLikelihood(BlockwiseNLL):
    """−log p(x) in nats per image, the mean over `images` of the split (null: all), with its standard error.

    `bits_per_dim`, unless x is a point: the same per pixel and channel, in bits. The protocol's `kind` says whether the
    figures are exact, an upper bound or an estimate of −log p of the pixels. A model whose `conditions` name the label
    is given it; a conditional flow is measured without a class, and its protocol has `class: none`.
    """

    batch_size: PositiveInt = 100

    needs = (HasLogLikelihood,)
    notes = {"units": "nats per image; bits per pixel and channel"}

    def check(self, model: Any, split: Any) -> None:
        notes_of(model)

    def at_once(self) -> int:
        return self.batch_size

    def has_bits_per_dim(self, model: HasLogLikelihood) -> bool:
        return model.likelihood_of != "density"

    def nll(self, model: HasLogLikelihood, x: Tensor, *conditions: Tensor) -> Tensor:
        return -model.log_likelihood(x, *conditions).double()

    def note(self, model: Any, x: Tensor, changed: bool) -> None:
        nll, pixels = MEANING[model.likelihood_of]
        self.found = {"kind": model.likelihood_kind, "nll": nll, "pixels": pixels, **notes_of(model)}
        if model.conditions:
            self.found["given"] = list(model.conditions)


def notes_of(model: Any) -> dict[str, Any]:
    """What the model says of its computation, for the protocol; ConfigError if it cannot compute log p(x)."""
    return model.likelihood_notes() if hasattr(model, "likelihood_notes") else {}

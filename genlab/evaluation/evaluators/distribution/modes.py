"""How many modes of a data set with known modes a model covers, and how evenly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.evaluator import SamplesEvaluator
from genlab.core.model import Model, generator_every
from genlab.core.sampling import sample_batches
from genlab.core.values import UNTAUGHT, Diagnosis, Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.nn.losses.regularizers import Regularizers
from genlab.registry import EVALUATORS, EXTRACTORS, PositiveFloat, PositiveInt

POINTS, STACKS = 2_500, 26_000  # samples, as in the papers
BATCH = 500
EARLY = 0.5  # fraction of training up to which a mode may still be found
FORMED = 0.25  # fraction of points near a mode below which the samples lie between the modes or all in one place
MOST = 0.9  # fraction of the modes above which the missing ones are not a collapse


@EVALUATORS("modes")
@dataclass
class Modes(SamplesEvaluator):
    """`modes`: the number of modes with at least one sample; `mode_kl`: KL in nats from the modes of the samples to the
    uniform distribution over all modes.

    Points (ring, grid): a sample belongs to its nearest mode if it lies within `deviations` standard deviations of it.
    `high_quality` is the fraction of these samples, and only they are counted (Lin et al., PacGAN, NeurIPS 2018,
    section 4.1). The centers and their deviation are those of the training points. Stacked MNIST: the shipped
    classifier reads each channel, and all samples count. N samples of K modes used evenly have a `mode_kl` of about
    (K - 1)/2N, not 0. `sampling`: options of the model's `sample`.
    """

    n: PositiveInt | None = None
    deviations: PositiveFloat = 3.0

    repeats = 3
    notes = {"modes": "class means of the training points; stacks: the shipped classifier mnist, channel by channel"}

    def check(self, model: Any, split: Split) -> None:
        if not split.points and split.table.name != "stacked_mnist":
            raise unknown()
        super().check(model, split)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        self.check(model, split)
        options = self.options(model)
        quality: float | None = None
        if split.points:
            samples = drawn(model, self.n or POINTS, **options).flatten(1)
            centers, deviation = clusters(split.sibling("train"))
            if not deviation:  # the same point repeated: nothing lies near it
                raise unknown()
            near, tally = nearest(samples.cpu(), centers, self.deviations * deviation)
            quality = float(near.double().mean())
        else:
            tally = spelled(drawn(model, self.n or STACKS, **options)).bincount(minlength=1000)
        found, total = int((tally > 0).sum()), len(tally)
        yield "modes", float(found)
        yield "mode_kl", kl_to_even(tally)
        if quality is not None:
            yield "high_quality", quality
        if found < MOST * total:
            yield "modes", Diagnosis(_sentence(model, found, total, quality), EARLY, UNTAUGHT * generator_every(model))

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "n": self.n or f"{POINTS} points, {STACKS} stacks"}


def unknown() -> ConfigError:
    return ConfigError("this data set has no known modes", "evaluator modes", "use dataset=ring, grid or stacked_mnist")


def drawn(model: Any, n: int, **options: Any) -> Tensor:
    """n samples, a batch at a time."""
    return torch.cat([*sample_batches(model, n, BATCH, **options)])


def clusters(split: Split) -> tuple[Tensor, float]:
    """The mean (K, D) of each class of points, and the standard deviation from it in one direction."""
    points, label = (column.cpu() for column in split.take(len(split), ("image", "label")))
    points = points.flatten(1).double()
    sums = torch.zeros(int(label.max()) + 1, points.shape[1], dtype=torch.float64).index_add_(0, label, points)
    centers = sums / label.bincount()[:, None]
    return centers, float((points - centers[label]).square().mean().sqrt())


def nearest(samples: Tensor, centers: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Which samples (N, D) lie within `reach` of a center (K, D), (N,), and how many of these are nearest to each."""
    distance, mode = torch.cdist(samples.double(), centers).min(1)
    near = distance < reach
    return near, mode[near].bincount(minlength=len(centers))


def spelled(images: Tensor) -> Tensor:
    """The numbers 0..999 (N,) that the digits in the three channels of images (N, 3, H, W) spell."""
    classifier = EXTRACTORS.build({"name": "mnist"}, "extractor").to(images.device)
    channels = images.reshape(-1, 1, *images.shape[2:]).split(3 * BATCH)
    digits = torch.cat([classifier.predict(part) for part in channels]).view(-1, 3).cpu()
    return digits @ torch.tensor([100, 10, 1])


def kl_to_even(tally: Tensor) -> float:
    """KL(p ‖ even) = log K − H(p) in nats of counts (K,); log K, its largest value, if there are none."""
    p = tally.double() / tally.sum().clamp_min(1)
    return math.log(len(tally)) - float(torch.special.entr(p).sum())


def _sentence(model: Model, found: int, total: int, quality: float | None) -> str:
    near = "" if quality is None else f", and {quality:.1%} of the samples lie near a mode"
    problem = f"mode collapse, samples cover {found} of {total} modes{near}"
    regularizers = getattr(model, "regularizers", None)
    if not isinstance(regularizers, Regularizers):
        return f"{problem}; train for longer: trainer.steps"
    if quality is not None and quality < FORMED and "r1" not in regularizers.penalties:
        return f"{problem}; keep the discriminator flat at the data: model.regularizers.r1.weight=0.01"
    size = 2 * regularizers.pack.size if regularizers.pack else 2
    return f"{problem}; let the discriminator see {size} samples at once: model.regularizers.pack.size={size}"

"""The base of evaluators of a distribution: features of a model's images, of real images, and of training images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Model, Reconstructs, Samples, Translates
from genlab.core.sampling import checked_options, classes_in_turn, sample_batches
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.extraction import (
    AUTO,
    BATCH,
    Extractor,
    ExtractorName,
    choose_extractor,
    features,
    features_of,
    shipped,
)
from genlab.evaluation.given_samples import GivenSamples
from genlab.registry import PositiveInt

Source = Literal["samples", "reconstructions", "translations"]
CAPABILITY: dict[str, type] = {"samples": Samples, "reconstructions": Reconstructs, "translations": Translates}
REAL = "real"  # a split of real training images, of data sets whose training split also holds generated ones
Several = Annotated[int, Gt(1)]


@dataclass
class FeatureSets(Evaluator):
    """`images` images of the model compared with as many of the split, or with all if it has fewer.

    `source`: `samples` of the model (a conditional model samples all classes equally often), `reconstructions` of the
    split's own images, or `translations` of its column `a`, compared with column `b`.
    `sampling`: options of the model's `sample`; with `label`, all samples are of one class.
    """

    images: Several = 10_000
    extractor: ExtractorName = AUTO
    source: Source = "samples"
    batch_size: PositiveInt = BATCH
    sampling: dict[str, Any] | None = None

    measures_samples = True
    given = False  # whether the last samples were a fixed set, so that a larger `images` gives no others
    repeats = 3

    def applies(self, model: Model) -> bool:
        return isinstance(model, CAPABILITY[self.source])

    def instead(self, model: Model) -> str | None:
        sources = (name for name, able in reversed(CAPABILITY.items()) if isinstance(model, able))
        return next((f"source={name}" for name in sources), None)

    def check(self, model: Any, split: Split) -> None:
        choose_extractor(self.extractor, split, f"{self.key}.extractor")
        self.options(model)

    def read(self, model: Model, split: Split, n: int | None = None) -> tuple[str, Tensor, Tensor, Tensor]:
        """The extractor's name, and features (N, D) of the model's images, of the split, and of real training images.

        There are as many of the last as of the first, where the data have so many: a perfect model scores like them.
        """
        refuse_training_images(split)
        extractor = choose_extractor(self.extractor, split, f"{self.key}.extractor")
        n = n or self.images
        compared = split.drawn(n)
        real = features_of(extractor, compared, self.column)
        self.given = isinstance(model, GivenSamples)
        known = model.features(extractor) if isinstance(model, GivenSamples) else None
        fake = features(extractor, self.generated(model, compared, n)) if known is None else known[:n]
        train = split.sibling(training(split)).drawn(len(fake))
        floor = features_of(extractor, train, self.column)
        seen = ", which the extractor was trained on" if extractor.name == shipped(train.table.name) else ""
        in_turn = self.source == "samples" and "label" not in self.options(model) and classes_in_turn(model)
        self.found = {
            **extractor_notes(extractor), "features": real.shape[1], "generated_images": len(fake),
            "real_images": len(real), "floor_images": f"{len(floor)} of {train.name}{seen}",
            **({"labels": "each class as often"} if in_turn else {}),
        }  # fmt: skip
        return extractor.name, fake, real, floor

    def options(self, model: Any) -> dict[str, Any]:
        """The options of the model's `sample`; ConfigError for one that it lacks, or if nothing is sampled."""
        if self.source == "samples":
            return checked_options(model, self.sampling, f"{self.key}.sampling")
        if self.sampling:
            raise ConfigError(
                f"source={self.source} samples nothing", f"key {self.key}.sampling", "leave it out, or source"
            )
        return {}

    def generated(self, model: Any, split: Split, n: int) -> Iterator[Tensor]:
        """The model's images in batches: n samples, or one image for each of the split."""
        if self.source == "samples":
            yield from sample_batches(model, n, self.batch_size, **self.options(model))
        elif self.source == "translations":
            yield from (model.translate(a) for (a,) in split.batches(("a",), self.batch_size))
        else:
            columns = ("image", *model.conditions)
            yield from (model.reconstruct(*batch) for batch in split.batches(columns, self.batch_size))

    @property
    def column(self) -> str:
        """The data column that the model's images are compared with."""
        return "b" if self.source == "translations" else "image"

    def require(self, least: int, sets: Sequence[Tensor], why: str, instead: Callable[[int], str]) -> None:
        """ConfigError if a set has fewer than `least` images; `instead(n)`: what the smallest set, of n, allows."""
        counts = [len(features) for features in sets]
        for count, name in zip(counts, ("generated", "real", "training"), strict=True):
            if count < least:
                more = self.images < least and not self.given
                key = f"key {self.key}.images={self.images}" + ("" if more else ", but the data hold only these")
                raise ConfigError(
                    f"{count} {name} images are too few, {why}",
                    self.key if self.given else key,
                    f"use {f'{self.key}.images={least} or more, or ' if more else ''}{instead(min(counts))}",
                )


class Drawn(Model):
    """A model whose samples have been drawn, for evaluators that draw them themselves."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images, self.at = images, 0

    def sample(self, n: int) -> Tensor:
        self.at += n
        return self.images[self.at - n : self.at]


def extractor_notes(extractor: Extractor) -> dict[str, Any]:
    """The protocol's entries about an extractor."""
    return {"extractor": extractor.name, "extractor_sha256": extractor.digest, "resize": extractor.resize}


def refuse_training_images(split: Split) -> None:
    """ConfigError for a split that is itself the reference: training images would be compared with themselves."""
    if split.name in ("train", REAL):
        raise ConfigError(
            "training images are the reference, they cannot be measured against themselves",
            f"split={split.name}",
            "use split=test or split=valid",
        )


def training(split: Split) -> str:
    """The name of the split that holds real training images alone."""
    try:
        split.sibling(REAL)
    except ConfigError:
        return "train"
    return REAL

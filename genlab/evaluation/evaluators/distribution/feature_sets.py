"""What evaluators of a distribution share: which of a model's images, and the features of these and of real ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from genlab.core.model import Model, Reconstructs, Samples, Translates
from genlab.core.sampling import classes_in_turn, sample_batches, sample_options
from genlab.errors import ConfigError
from genlab.evaluation.extraction import BATCH, Extractor, choose, features, features_of, own, some

if TYPE_CHECKING:
    from genlab.data.dataset import Split

Source = Literal["samples", "reconstructions", "translations"]
CAPABILITY: dict[str, type] = {"samples": Samples, "reconstructions": Reconstructs, "translations": Translates}
REAL = "real"  # a split of real training images, of data sets whose training split holds others too
SAFE = 10_000  # images from which on a Fréchet distance hardly depends on their number


class FeatureSets:
    """`images` of the model's images (`source`) against as many of the split's as there are, at most `images`.

    `samples` are drawn, of a conditional model each class as often; `reconstructions` are of the split's own images;
    `translations` of its column `a`, compared with its column `b`.
    """

    split: str | None = "valid"

    def __init__(self, images: int, extractor: str, source: Source, batch_size: int, truncation: float | None) -> None:
        self.images, self.extractor, self.source, self.batch_size = images, extractor, source, batch_size
        self.sampling = {} if truncation is None else {"truncation": truncation}
        self._said: dict[str, Any] = {}

    def applies(self, model: Model) -> bool:
        return isinstance(model, CAPABILITY[self.source])

    @staticmethod
    def instead(model: Model) -> str | None:
        """The option with which this applies to a model to which it does not by default."""
        return next(
            (f"source={source}" for source, able in reversed(CAPABILITY.items()) if isinstance(model, able)), None
        )

    def check(self, split: Split) -> None:
        choose(self.extractor, split)

    def read(self, model: Model, split: Split, images: int | None = None) -> tuple[str, Tensor, Tensor, Tensor]:
        """The extractor's name, and features of the model's images, of the split's, and of real training images.

        The last are as many as the model's, where there are so many: what they score is what perfect images would.
        """
        unseen(split)
        extractor = choose(self.extractor, split)
        wanted = images or self.images
        judged = some(split, wanted)
        real = features_of(extractor, judged, self.column)
        fake = features(extractor, self.made(model, judged, wanted))
        train = some(split.sibling(training(split)), len(fake))
        floor = features_of(extractor, train, self.column)
        self._note(extractor, model, fake, real, floor, train)
        return extractor.name, fake, real, floor

    def made(self, model: Model, split: Split, n: int) -> Iterator[Tensor]:
        """The model's images in batches: n samples, or one for each image of the split."""
        if isinstance(model, Samples) and self.source == "samples":
            yield from samples(model, n, self.batch_size, **self.sampling)
            return
        columns = ("a",) if self.source == "translations" else ("image", *model.conditions)
        for image, *conditions in split.batches(columns, self.batch_size):
            if self.source == "translations":
                assert isinstance(model, Translates)
                yield model.translate(image)
            else:
                assert isinstance(model, Reconstructs)
                yield model.reconstruct(image, *conditions)

    @property
    def column(self) -> str:
        """The column that the model's images are to be like."""
        return "b" if self.source == "translations" else "image"

    def _note(
        self, extractor: Extractor, model: Model, fake: Tensor, real: Tensor, floor: Tensor, train: Split
    ) -> None:
        labels = "each class as often" if classes_in_turn(model) else ""
        self._said = {
            "extractor": extractor.name,
            "extractor_sha256": extractor.digest,
            "resize": extractor.resize,
            "features": real.shape[1],
            "source": self.source,
            "generated_images": len(fake),
            "real_images": len(real),
            "floor_images": f"{len(floor)} of {train.name}{taught(extractor, train)}",
            **self.sampling,
            **({"labels": labels} if labels and self.source == "samples" else {}),
        }

    def enough(self, sets: dict[str, Tensor], least: int, why: str, instead: str) -> None:
        """ConfigError if there are fewer than `least` images of a kind; `instead` is what helps but more images."""
        for what, found in sets.items():
            if len(found) >= least:
                continue
            asked = self.images < least
            raise ConfigError(
                f"{len(found)} {what} images are too few, {why}",
                f"key images={self.images}" if asked else f"key images={self.images}, but there are no more",
                (f"use images={least} or more, or {instead}" if asked else f"use {instead}"),
            )

    def protocol(self) -> dict[str, Any]:
        return self._said or {"extractor": self.extractor, "source": self.source, "images": self.images}


def samples(model: Samples, n: int, batch_size: int = BATCH, **sampling: float) -> Iterator[Tensor]:
    """n samples in batches; ConfigError if the model takes no such `sampling`."""
    for name in sampling:
        if name not in sample_options(model).model_fields:
            raise ConfigError(f"this model's samples take no {name}", f"key evaluator.{name}", f"leave {name}=... out")
    yield from sample_batches(model, n, batch_size, **sampling)


def unseen(split: Split) -> None:
    """ConfigError for a split of the training images with which its images, or what is made of them, are compared."""
    if split.name in ("train", REAL):
        raise ConfigError(
            "these images would be judged against the images that they are compared with",
            f"split={split.name}",
            "use split=test or split=valid",
        )


def taught(extractor: Extractor, train: Split) -> str:
    """What is said where an extractor has learned from the training images themselves."""
    return ", which the extractor has learned from" if extractor.name == own(train.table.name) else ""


def training(split: Split) -> str:
    """The name of the split that holds real training images, and nothing else."""
    try:
        split.sibling(REAL)
    except ConfigError:
        return "train"
    return REAL

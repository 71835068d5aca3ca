"""How varied a model's images are: the classes that they are of, how far apart they lie, how alike two of them are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor

from genlab.core.model import Model
from genlab.core.values import Picture, Value
from genlab.evaluation.evaluators.distribution.feature_sets import FeatureSets, Source
from genlab.evaluation.extraction import AUTO, BATCH, ExtractorName, choose, some
from genlab.evaluation.extractors.classifiers import SmallClassifier
from genlab.nn.losses.image_similarity import ssim
from genlab.registry import EVALUATORS, Cadence, PositiveInt, Truncation

if TYPE_CHECKING:
    from genlab.data.dataset import Split

LINE, LEGEND = 18, 150  # pixels of a line of text in a histogram, and of its legend
GRAYS = (0, 170)  # of the model and of the data
PAIRS = 500  # of images whose structural similarity is averaged


@EVALUATORS("diversity")
class Diversity(FeatureSets):
    """`distance_of_pairs_<extractor>`: how far apart two of the model's images lie on average, over the same of the
    data's (1: as far); `ssim_of_pairs`, how alike they look, beside `_real`.

    By a classifier also the fraction of each class (`class_fraction_<extractor>/0`, ...), their entropy in nats
    and their total variation from the data's, in [0, 1]; both by the same classifier's verdict. `_real` is the split's
    entropy, `_floor` the distance of training images.
    """

    def __init__(
        self,
        images: Annotated[int, Gt(1)] = 10_000,
        extractor: ExtractorName = AUTO,
        source: Source = "samples",
        batch_size: PositiveInt = BATCH,
        truncation: Truncation | None = None,
        every: Cadence = None,
    ) -> None:
        super().__init__(images, extractor, source, batch_size, truncation)
        self.every = every

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        name, fake, real, floor = self.read(model, split)
        yield f"distance_of_pairs_{name}", pair_distance(fake) / pair_distance(real)
        yield from self._likeness(model, split)
        extractor = choose(self.extractor, split)
        if isinstance(extractor, SmallClassifier):
            shares = [extractor.shares(features) for features in (fake, real, floor)]
            yield from self._classes(name, *shares)

    def _likeness(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        judged = some(split, 2 * PAIRS)
        fake = torch.cat([images.cpu() for images in self.made(model, judged, 2 * PAIRS)])
        (real,) = judged.first(len(judged), (self.column,))
        yield "ssim_of_pairs", pair_ssim(fake)
        yield "ssim_of_pairs_real", pair_ssim(real.cpu())

    def _classes(self, name: str, fake: Tensor, real: Tensor, floor: Tensor) -> Iterator[tuple[str, Value]]:
        yield f"class_entropy_{name}", entropy(fake)
        yield f"class_entropy_{name}_real", entropy(real)
        yield f"class_distance_{name}", total_variation(fake, real)
        yield f"class_distance_{name}_floor", total_variation(floor, real)
        yield from ((f"class_fraction_{name}/{k}", share) for k, share in enumerate(fake.tolist()))
        yield "classes_of_samples_beside_the_data", bars(fake, real)

    def protocol(self) -> dict[str, Any]:
        return {
            **super().protocol(),
            "pairs": "each image and the next, in an order drawn once",
            "ssim_pairs": PAIRS,
            "entropy": "nats",
        }


def shuffled(rows: Tensor) -> Tensor:
    """Rows in an order drawn once for all: samples go through the classes in turn, and neighbours share none."""
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]


def pair_distance(features: Tensor) -> float:
    """The mean Euclidean distance of each of N > 1 feature vectors to another, drawn once for all."""
    features = shuffled(features)
    return float((features - features.roll(1, 0)).double().norm(dim=1).mean())


def pair_ssim(images: Tensor) -> float:
    """The mean structural similarity of pairs of images, drawn once for all; each image is in one pair."""
    images = shuffled(images)
    half = len(images) // 2
    return float(ssim(images[: 2 * half : 2], images[1 : 2 * half : 2]).mean())


def entropy(shares: Tensor) -> float:
    """−Σ p log p in nats of shares (K,) that sum to 1."""
    return float(torch.special.entr(shares.double()).sum())


def total_variation(shares: Tensor, others: Tensor) -> float:
    """½ Σ |p − q|, from 0 to 1."""
    return float((shares.double() - others.double()).abs().sum() / 2)


def bars(shares: Tensor, others: Tensor, height: int = 128, width: int = 12) -> Picture:
    """Two histograms (K,) side by side, the model's black and the data's grey, above the classes' numbers."""
    from PIL import Image, ImageDraw

    top = max(float(shares.max()), float(others.max()), 1e-12)
    image = Image.new("L", (max(LEGEND, len(shares) * 3 * width), LINE + height + LINE), 255)
    draw = ImageDraw.Draw(image)
    for k, pair in enumerate(zip(shares.tolist(), others.tolist(), strict=True)):
        for place, (value, gray) in enumerate(zip(pair, GRAYS, strict=True)):
            left, high = (3 * k + place) * width + width // 2, round(value / top * height)
            if high:
                draw.rectangle((left, LINE + height - high, left + width - 1, LINE + height - 1), fill=gray)
        draw.text(((3 * k + 1) * width + width // 2, LINE + height + 3), str(k), fill=0, anchor="mt")
    for left, gray, text in zip((4, LEGEND // 2), GRAYS, ("samples", "data"), strict=True):
        draw.rectangle((left, 4, left + 8, 12), fill=gray)
        draw.text((left + 13, 3), text, fill=0, anchor="lt")
    draw.text((image.width - 4, 3), f"up to {top:.3g}", fill=0, anchor="rt")
    return Picture(torch.from_numpy(np.asarray(image).copy())[None])

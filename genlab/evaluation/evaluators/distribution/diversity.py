"""The diversity of a model's images: their classes, their distances, and the similarity of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.core.values import Image, Value
from genlab.data.dataset import Split
from genlab.evaluation.evaluators.distribution.feature_sets import FeatureSets
from genlab.evaluation.extraction import choose_extractor
from genlab.evaluation.extractors.classifiers import SmallClassifier
from genlab.nn.losses.image_similarity import ssim
from genlab.registry import EVALUATORS

LINE, LEGEND = 18, 150  # pixels of a line of text in a histogram, and of its legend
GRAYS = (0, 170)  # of the model and of the data
PAIRS = 500  # of images whose structural similarity is averaged


@EVALUATORS("diversity")
class Diversity(FeatureSets):
    """`distance_of_pairs_<extractor>`: the mean distance of two of the model's images, over that of two of the data's;
    `ssim_of_pairs`, how alike two images look, beside `_real`.

    A classifier adds the fraction of each class (`class_fraction_<extractor>/0`, ...), their entropy in nats and their
    total variation from the data's fractions, in [0, 1], both sides classified alike. `_real` is the split's entropy,
    `_floor` the total variation of training images.
    """

    smooth = False
    notes = {"pairs": "each image and the next, in a fixed random order", "ssim_pairs": PAIRS, "entropy": "nats"}

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        name, fake, real, floor = self.read(model, split)
        tiny = torch.finfo(torch.float64).tiny  # a data set may be one image, repeated
        yield f"distance_of_pairs_{name}", pair_distance(fake) / max(pair_distance(real), tiny)
        yield from self._similarity(model, split)
        extractor = choose_extractor(self.extractor, split, f"{self.key}.extractor")
        if isinstance(extractor, SmallClassifier):
            yield from self._classes(name, *(extractor.fractions(features) for features in (fake, real, floor)))

    def _similarity(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        compared = split.drawn(2 * PAIRS)
        fake = torch.cat([images.cpu() for images in self.generated(model, compared, 2 * PAIRS)])
        (real,) = compared.take(len(compared), (self.column,))
        yield "ssim_of_pairs", pair_ssim(fake)
        yield "ssim_of_pairs_real", pair_ssim(real.cpu())

    def _classes(self, name: str, fake: Tensor, real: Tensor, floor: Tensor) -> Iterator[tuple[str, Value]]:
        yield f"class_entropy_{name}", entropy(fake)
        yield f"class_entropy_{name}_real", entropy(real)
        yield f"class_distance_{name}", total_variation(fake, real)
        yield f"class_distance_{name}_floor", total_variation(floor, real)
        yield from ((f"class_fraction_{name}/{k}", fraction) for k, fraction in enumerate(fake.tolist()))
        yield "classes_of_samples_beside_the_data", bars(fake, real)


def shuffled(x: Tensor) -> Tensor:
    """x (N, ...) in a fixed random order: samples cycle through the classes, so that neighbors never share one."""
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]


def pair_distance(features: Tensor) -> float:
    """The mean Euclidean distance of each of N > 1 feature vectors to another, in a fixed random order."""
    features = shuffled(features)
    return float((features - features.roll(1, 0)).double().norm(dim=1).mean())


def pair_ssim(images: Tensor) -> float:
    """The mean structural similarity of random, fixed pairs of images; each image is in one pair."""
    images = shuffled(images)
    half = len(images) // 2
    return float(ssim(images[: 2 * half : 2], images[1 : 2 * half : 2]).mean())


def entropy(p: Tensor) -> float:
    """−Σ p log p in nats of probabilities (K,)."""
    return float(torch.special.entr(p.double()).sum())


def total_variation(p: Tensor, q: Tensor) -> float:
    """½ Σ |p − q|, from 0 to 1, of probabilities (K,)."""
    return float((p.double() - q.double()).abs().sum() / 2)


def bars(p: Tensor, q: Tensor, height: int = 128, width: int = 12) -> Image:
    """Two histograms (K,) side by side, the model's black and the data's gray, above the class numbers."""
    import PIL.Image
    from PIL import ImageDraw

    top = max(float(p.max()), float(q.max()), 1e-12)
    image = PIL.Image.new("L", (max(LEGEND, len(p) * 3 * width), LINE + height + LINE), 255)
    draw = ImageDraw.Draw(image)
    for k, pair in enumerate(zip(p.tolist(), q.tolist(), strict=True)):
        for place, (value, gray) in enumerate(zip(pair, GRAYS, strict=True)):
            left, high = (3 * k + place) * width + width // 2, round(value / top * height)
            if high:
                draw.rectangle((left, LINE + height - high, left + width - 1, LINE + height - 1), fill=gray)
        draw.text(((3 * k + 1) * width + width // 2, LINE + height + 3), str(k), fill=0, anchor="mt")
    for left, gray, text in zip((4, LEGEND // 2), GRAYS, ("samples", "data"), strict=True):
        draw.rectangle((left, 4, left + 8, 12), fill=gray)
        draw.text((left + 13, 3), text, fill=0, anchor="lt")
    draw.text((image.width - 4, 3), f"up to {top:.3g}", fill=0, anchor="rt")
    return Image(torch.from_numpy(np.asarray(image).copy())[None])

"""Are samples copies? Their distance to training images, compared with that of unseen real images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Samples
from genlab.core.sampling import sample_batches
from genlab.core.values import Image, Value
from genlab.data.dataset import Split
from genlab.evaluation.evaluators.distribution.feature_sets import Several, extractor_notes, refuse_training_images
from genlab.evaluation.extraction import AUTO, BATCH, ExtractorName, choose_extractor, features, features_of
from genlab.evaluation.given_samples import GivenSamples
from genlab.evaluation.metrics.neighbors import mann_whitney, nearest
from genlab.registry import EVALUATORS, Count, PositiveInt
from genlab.reports.grid import are_images, image_grid


@EVALUATORS("memorization")
@dataclass
class Memorization(Evaluator):
    """`nearer_than_real_<extractor>`: the fraction of samples that lie nearer to a training image than all but a
    `quantile` of the split's images do; a perfect model scores `quantile`, one that copies 1.

    `copying_z_<extractor>` is C_T of Meehan et al. (2020) over the whole space: below −3 samples lie nearer to training
    images than unseen images do, above 3 farther. Blurred or collapsed samples, in the middle of the data, are near
    too: the grid of samples above their nearest training images, the nearest first, shows which it is.
    """

    images: Several = 2000
    quantile: Annotated[float, Gt(0), Lt(1)] = 0.05
    extractor: ExtractorName = AUTO
    n: Count = 16
    batch_size: PositiveInt = BATCH

    needs = (Samples,)
    measures_samples = True
    repeats = 3

    def check(self, model: Any, split: Split) -> None:
        choose_extractor(self.extractor, split, f"{self.key}.extractor")

    def run(self, model: Samples, split: Split) -> Iterator[tuple[str, Value]]:
        refuse_training_images(split)
        extractor, train = choose_extractor(self.extractor, split, f"{self.key}.extractor"), split.sibling("train")
        drawn = torch.cat([images.cpu() for images in sample_batches(model, self.images, self.batch_size)])
        learned, others = features_of(extractor, train), features_of(extractor, split.drawn(self.images))
        known = model.features(extractor) if isinstance(model, GivenSamples) else None
        found = features(extractor, drawn.split(self.batch_size)) if known is None else known[: len(drawn)]
        distance, index = nearest(found, learned)
        usual = nearest(others, learned)[0]
        limit = usual.double().quantile(self.quantile)
        yield f"nearer_than_real_{extractor.name}", (distance.double() < limit).double().mean()
        yield f"copying_z_{extractor.name}", mann_whitney(usual, distance)
        yield f"nearest_distance_{extractor.name}", distance.double().mean() / usual.double().mean()
        if are_images(drawn):
            yield "samples_above_nearest_training_images", self._grid(drawn, distance, index, train)
        self.found = {**extractor_notes(extractor), "generated_images": self.images, "training_images": len(train),
                      "unseen_images": len(others), "distance": "Euclidean, between features"}  # fmt: skip

    def _grid(self, drawn: Tensor, distance: Tensor, index: Tensor, train: Split) -> Image:
        order = distance.argsort()[: self.n]
        nearest = train.indices[index[order].to(train.indices.device)]
        (neighbors,) = replace(train, indices=nearest).take(len(nearest), ("image",))
        return image_grid(torch.cat([drawn[order], neighbors.cpu()]), len(order))

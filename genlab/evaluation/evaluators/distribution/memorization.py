"""Whether a model's samples are copies: how near they lie to training images, beside real images it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Gt, Lt

from genlab.core.model import Model, Samples
from genlab.core.values import Picture, Value
from genlab.evaluation.evaluators.distribution.feature_sets import samples, unseen
from genlab.evaluation.extraction import AUTO, BATCH, ExtractorName, choose, features, features_of, some
from genlab.evaluation.metrics.neighbors import mann_whitney, nearest
from genlab.registry import EVALUATORS, Cadence, Count, PositiveInt
from genlab.reports.grid import image_grid

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.data.dataset import Split


@EVALUATORS("memorization")
class Memorization:
    """`nearer_than_real_<extractor>`: the share of samples that lie nearer to a training image than all but a
    `quantile` of the split's images do; a model of the law itself scores `quantile`, one that copies 1.

    `copying_z_<extractor>` is C_T of Meehan et al. (2020) over the whole space: below −3 samples lie nearer to training
    images than unseen images do, above 3 farther off. A blurred or collapsed model, whose samples lie in the middle of
    the data, is near too: the picture, samples above their nearest training images, the nearest first, tells which.
    """

    split: str | None = "valid"

    def __init__(
        self,
        images: Annotated[int, Gt(1)] = 2000,
        quantile: Annotated[float, Gt(0), Lt(1)] = 0.05,
        extractor: ExtractorName = AUTO,
        n: Count = 16,
        batch_size: PositiveInt = BATCH,
        every: Cadence = None,
    ) -> None:
        self.images, self.quantile, self.extractor, self.n = images, quantile, extractor, n
        self.batch_size, self.every = batch_size, every
        self._said: dict[str, Any] = {}

    def applies(self, model: Model) -> bool:
        return isinstance(model, Samples)

    def check(self, split: Split) -> None:
        choose(self.extractor, split)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, Samples)
        unseen(split)
        extractor, train = choose(self.extractor, split), split.sibling("train")
        drawn = torch.cat([images.cpu() for images in samples(model, self.images, self.batch_size)])
        learned, others = features_of(extractor, train), features_of(extractor, some(split, self.images))
        fake = features(extractor, drawn.split(self.batch_size))
        distance, place = nearest(fake, learned)
        usual = nearest(others, learned)[0]
        limit = usual.double().quantile(self.quantile)
        yield f"nearer_than_real_{extractor.name}", (distance.double() < limit).double().mean()
        yield f"copying_z_{extractor.name}", mann_whitney(usual, distance)
        yield f"nearest_distance_{extractor.name}", distance.double().mean() / usual.double().mean()
        yield "samples_above_nearest_training_images", self._picture(drawn, distance, place, train)
        self._said = {"extractor": extractor.name, "extractor_sha256": extractor.digest, "resize": extractor.resize,
                      "training_images": len(train), "unseen_images": len(others)}  # fmt: skip

    def _picture(self, drawn: Tensor, distance: Tensor, place: Tensor, train: Split) -> Picture:
        order = distance.argsort()[: self.n]
        rows = train.rows[place[order].to(train.rows.device)]
        (neighbours,) = replace(train, rows=rows).first(len(rows), ("image",))
        return image_grid(torch.cat([drawn[order], neighbours.cpu()]), len(order))

    def protocol(self) -> dict[str, Any]:
        return {
            **(self._said or {"extractor": self.extractor}),
            "generated_images": self.images,
            "quantile": self.quantile,
            "distance": "Euclidean, between features",
        }

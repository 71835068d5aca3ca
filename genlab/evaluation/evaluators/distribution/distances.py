"""How far the law of a model's images is from the data's: FID, KID, and precision, recall, density, coverage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt

from genlab.core.model import Model
from genlab.core.values import Value
from genlab.evaluation.evaluators.distribution.feature_sets import SAFE, FeatureSets, Source
from genlab.evaluation.extraction import AUTO, BATCH, ExtractorName
from genlab.evaluation.metrics.frechet import fid, kid
from genlab.evaluation.metrics.neighbors import prdc
from genlab.registry import EVALUATORS, Cadence, PositiveInt, Truncation

if TYPE_CHECKING:
    from genlab.data.dataset import Split

SEVERAL = Annotated[int, Gt(1)]


@EVALUATORS("fid")
class FrechetDistance(FeatureSets):
    """`fid_<extractor>`: the Fréchet distance of features (Heusel et al. 2017); `_floor` is that of real images.

    Where there are fewer training images than samples, `_at_floor` is of as few samples, to compare with the floor. It
    falls with the number of images even where nothing else changes: figures at different counts are not comparable.
    """

    def __init__(
        self,
        images: SEVERAL = 10_000,
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
        least = 2 * real.shape[1]
        sets = {"generated": fake, split.name: real, "training": floor}
        why = f"the covariance of {real.shape[1]} features needs twice as many"
        self.enough(sets, least, why, f"evaluator=kid subset_size={min(map(len, sets.values()))}")
        yield f"fid_{name}", fid(fake, real)
        yield f"fid_{name}_floor", fid(floor, real)
        if len(floor) < len(fake):
            yield f"fid_{name}_at_floor", fid(fake[: len(floor)], real)
            self._said["floor"] = f"of fewer images than the samples: compare it with fid_{name}_at_floor, of as few"
        if min(len(fake), len(real)) < SAFE:
            self._said["caution"] = (
                f"fewer than {SAFE:,} images of a kind: biased upwards, compare at equal counts only"
            )


@EVALUATORS("kid")
class KernelDistance(FeatureSets):
    """`kid_<extractor>`: the unbiased squared MMD by a cubic kernel (Bińkowski et al. 2018), mean over random subsets.

    `_sd` is its standard deviation over the subsets, `_floor` the mean of real training images in place of the model's.
    """

    def __init__(
        self,
        images: SEVERAL = 10_000,
        subsets: PositiveInt = 100,
        subset_size: SEVERAL = 1000,
        extractor: ExtractorName = AUTO,
        source: Source = "samples",
        batch_size: PositiveInt = BATCH,
        truncation: Truncation | None = None,
        every: Cadence = None,
    ) -> None:
        super().__init__(images, extractor, source, batch_size, truncation)
        self.subsets, self.size, self.every = subsets, subset_size, every

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        name, fake, real, floor = self.read(model, split)
        sets = {"generated": fake, split.name: real, "training": floor}
        smaller = f"subset_size={min(map(len, sets.values()))}"
        self.enough(sets, self.size, f"a subset has subset_size={self.size}", smaller)
        mean, deviation = kid(fake, real, self.subsets, self.size)
        yield f"kid_{name}", mean
        yield f"kid_{name}_sd", deviation
        yield f"kid_{name}_floor", kid(floor, real, self.subsets, self.size)[0]

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "subsets": self.subsets, "subset_size": self.size, "kernel": "(x·y/d + 1)³"}


@EVALUATORS("prdc")
class Coverage(FeatureSets):
    """`precision_<extractor>`, `recall_`, `density_` and `coverage_`, from the k nearest neighbours of features.

    As many of the model's images as of the split's, at most `images`. `_real` is what training images score.
    """

    def __init__(
        self,
        images: SEVERAL = 10_000,
        k: PositiveInt = 5,
        extractor: ExtractorName = AUTO,
        source: Source = "samples",
        batch_size: PositiveInt = BATCH,
        truncation: Truncation | None = None,
        every: Cadence = None,
    ) -> None:
        super().__init__(images, extractor, source, batch_size, truncation)
        self.k, self.every = k, every

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        name, fake, real, floor = self.read(model, split, min(self.images, len(split)))
        sets = {"generated": fake, split.name: real, "training": floor}
        smaller = f"k={max(1, min(map(len, sets.values())) // 2)}"
        self.enough(sets, 2 * self.k, f"k={self.k} neighbours need twice as many", smaller)
        yield from ((f"{key}_{name}", value) for key, value in prdc(real, fake, self.k).items())
        yield from ((f"{key}_{name}_real", value) for key, value in prdc(real, floor, self.k).items())

    def protocol(self) -> dict[str, Any]:
        return {**super().protocol(), "k": self.k}

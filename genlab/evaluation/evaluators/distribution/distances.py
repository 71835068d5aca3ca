"""How far the distribution of a model's images is from the data's: FID, KID, precision, recall, density, coverage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genlab.core.model import Model
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.evaluation.evaluators.distribution.feature_sets import FeatureSets, Several
from genlab.evaluation.extraction import AUTO, shipped
from genlab.evaluation.metrics.frechet import fid, kid
from genlab.evaluation.metrics.neighbors import prdc
from genlab.registry import EVALUATORS, PositiveInt

SAFE = 10_000  # images from which on a Fréchet distance hardly depends on their number


@EVALUATORS("fid")
class FrechetDistance(FeatureSets):
    """`fid_<extractor>`: the Fréchet distance of features (Heusel et al. 2017); `_floor` is that of training images.

    With fewer training images than samples, `_at_floor` uses equally few samples and is comparable with the floor. The
    distance falls with the number of images alone: only figures at equal counts are comparable.
    """

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        name, *sets = self.read(model, split)
        fake, real, floor = sets
        why = f"the covariance of {real.shape[1]} features needs twice as many"
        instead = "evaluator=kid evaluator.kid.subset_size={}".format
        self.require(2 * real.shape[1], sets, why, instead)
        yield f"fid_{name}", fid(fake, real)
        yield f"fid_{name}_floor", fid(floor, real)
        if len(floor) < len(fake):
            yield f"fid_{name}_at_floor", fid(fake[: len(floor)], real)
            self.found["floor"] = f"fewer images than samples: compare it with fid_{name}_at_floor, of as few"
        if min(len(fake), len(real)) < SAFE:
            self.found["caution"] = f"fewer than {SAFE:,} images in a set: biased upwards, compare at equal counts only"


@EVALUATORS("quick_fid")
@dataclass
class QuickFrechetDistance(FeatureSets):
    """`quick_fid`: the Fréchet distance of few samples, by which a model with `monitor = "quick_fid"` is ranked.

    `quick_fid_floor` is that of as many training images. `auto` is only the classifier that comes with genlab for the
    data set: without one, or with fewer than two images per feature, there is no figure.
    """

    images: Several = 2000

    measures_samples = False

    def applies(self, model: Model) -> bool:
        return model.monitor == "quick_fid" and super().applies(model)

    def instead(self, model: Model) -> None:
        """No key makes this apply."""

    def check(self, model: Any, split: Split) -> None:
        if self.extractor != AUTO:
            super().check(model, split)
        self.options(model)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if self.extractor == AUTO and not _has_classifier(split):
            self.found = {"caution": f"genlab has no classifier for data set '{split.table.name}': no figure"}
            return
        _, *sets = self.read(model, split)
        fake, real, floor = sets
        if min(map(len, sets)) < 2 * real.shape[1]:
            self.found["caution"] = f"fewer than {2 * real.shape[1]} images: no figure"
            return
        yield "quick_fid", fid(fake, real)
        yield "quick_fid_floor", fid(floor, real)


def _has_classifier(split: Split) -> bool:
    return shipped(split.table.name) is not None and split.table.columns["image"].shape[1] == 1


@EVALUATORS("kid")
@dataclass
class KernelDistance(FeatureSets):
    """`kid_<extractor>`: the unbiased squared MMD, cubic kernel (Bińkowski et al. 2018), mean over random subsets.

    `_sd` is the standard deviation over the subsets, `_floor` the mean with training images in place of the model's.
    """

    subsets: PositiveInt = 100
    subset_size: Several = 1000

    notes = {"kernel": "(x·y/d + 1)³"}

    smooth = False

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        name, *sets = self.read(model, split)
        fake, real, floor = sets
        why = f"a subset has subset_size={self.subset_size}"
        self.require(self.subset_size, sets, why, f"{self.key}.subset_size={{}}".format)
        mean, deviation = kid(fake, real, self.subsets, self.subset_size)
        yield f"kid_{name}", mean
        yield f"kid_{name}_sd", deviation
        yield f"kid_{name}_floor", kid(floor, real, self.subsets, self.subset_size)[0]


@EVALUATORS("prdc")
@dataclass
class Coverage(FeatureSets):
    """`precision_<extractor>`, `recall_`, `density_` and `coverage_`, from the k nearest neighbors of features.

    The model and the split contribute equally many images, at most `images`. `_real` is the score of training images.
    """

    k: PositiveInt = 5

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        name, *sets = self.read(model, split, min(self.images, len(split)))
        fake, real, floor = sets
        why = f"k={self.k} neighbors need twice as many"
        self.require(2 * self.k, sets, why, lambda n: f"{self.key}.k={max(1, n // 2)}")
        yield from ((f"{key}_{name}", value) for key, value in prdc(real, fake, self.k).items())
        yield from ((f"{key}_{name}_real", value) for key, value in prdc(real, floor, self.k).items())

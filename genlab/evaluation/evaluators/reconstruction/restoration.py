"""How well a model restores corrupted images: PSNR and SSIM against the clean images, at several levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Denoises, Encodes, HasPath, Inpaints, Reconstructs
from genlab.core.sampling import method_options, rehearse
from genlab.core.values import Diagnosis, Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.corrupted import Corrupt, Corrupted, keeping_known, restore, with_box, with_noise
from genlab.evaluation.evaluators.reconstruction.reconstruction import principal_components
from genlab.models.classical.pca import MAX_DIMENSIONS, PCA
from genlab.nn.augment.corruptions import untrained_corruption
from genlab.nn.losses.image_similarity import psnr, ssim
from genlab.registry import EVALUATORS, Fraction, NonNegativeFloat, PositiveInt, check_keywords
from genlab.reports.grid import image_grid

BATCH = 250
Restore = Callable[[Tensor], Tensor]


@dataclass
class Restoration(Evaluator):
    """The base of `denoise` and `inpaint`: PSNR and SSIM at each level of corruption.

    Names are psnr/WHAT/LEVEL and ssim/WHAT/LEVEL. WHAT is the corrupted image itself, the model's restoration
    (restored), a restoration at random where the other is a mean (sampled), or the projection on principal components
    of the training images: as many as the code has dimensions (pca), or the number that restores corrupted validation
    images best (pca_best), components/pca_best/LEVEL. PCA is left out for models without codes and images too large
    for a covariance, and pca_best without validation images.

    `sampling`: options of the model's own `denoise` or `inpaint`, if it has one.
    """

    n: PositiveInt = 1000
    columns: PositiveInt = 8
    sampling: dict[str, Any] | None = None

    notes = {
        "psnr": "dB, mean over images; clean and restored images in [0, 1]",
        "restored": "a reconstruction; of a model that denoises the mean of clean images, that inpaints a sample",
        "ssim": "window 11, σ 1.5 (Wang et al. 2004)",
        "pca": "fitted on train, as many components as the code has dimensions",
        "pca_best": "a power of two of components, or all: the highest PSNR on corrupted validation images",
    }
    corrupted_name: ClassVar[str]  # the name of a corrupted image in a figure's name
    method: ClassVar[str]  # of a model that restores in its own way

    def __post_init__(self) -> None:
        self.levels()  # a level out of range is refused before training

    @property
    def corruption(self) -> str:
        """What `model.corruption` calls it."""
        raise NotImplementedError

    def levels(self) -> dict[float, Corrupt]:
        """Ways to corrupt images, by level."""
        raise NotImplementedError

    def check(self, model: Any, split: Split) -> None:
        if split.points:
            raise ConfigError("points have no pixels to restore", f"key {self.key}", "leave it out")
        options = self.options(model)
        if isinstance(model, HasPath) and hasattr(model, self.method):
            rehearse(model, lambda: self.try_own(model, **options), f"{self.key}.sampling")

    def options(self, model: Any) -> dict[str, Any]:
        """The options of the model's own method; ConfigError for one that it lacks, or if it cannot undo this."""
        return check_keywords(method_options(model, self.method), self.sampling or {}, f"{self.key}.sampling")

    def try_own(self, model: Any, **options: Any) -> None:
        """Restore one image by the model's own method."""
        image = model.to_image(next(model.path(1)))
        restore(model, next(iter(self.levels().values()))(image), [], options)

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        options, projections = self.options(model), dict[str, Restore]()
        clean = split.take(self.n, ("image", *model.conditions))
        pca, valid = None, None
        if isinstance(model, Encodes) and clean[0][0].numel() <= MAX_DIMENSIONS:
            length = model.encode(*(column[:1] for column in clean)).flatten(1).shape[1]
            pca = principal_components(split.sibling("train"), clean[0][0].numel())
            projections["pca"] = projection(pca, length)
            valid = _validation(split, self.n)
        rows = []
        for amount, corrupt in self.levels().items():
            totals: dict[str, Tensor] = {}
            if pca is not None and valid is not None:
                count = best_count(pca, valid, corrupt(valid))
                projections["pca_best"] = projection(pca, count)
                yield f"components/pca_best/{amount:g}", count
            for index, columns in enumerate(zip(*(column.split(BATCH) for column in clean), strict=True)):
                image, *conditions = columns
                corrupted = corrupt(image)
                restored = restore(model, corrupted, conditions, options)
                projected = {who: keeping_known(corrupted, way(corrupted.image)) for who, way in projections.items()}
                for who, images in {self.corrupted_name: corrupted.image, **restored, **projected}.items():
                    for name, measure in (("psnr", psnr), ("ssim", ssim)):
                        key = f"{name}/{who}/{amount:g}"
                        totals[key] = totals.get(key, 0) + measure(image, images).double().sum()
                if index == 0:
                    rows += [x[: self.columns] for x in (image, corrupted.image, *restored.values())]
            yield from ((key, total / len(clean[0])) for key, total in totals.items())
        advice = untrained_corruption(model, self.corruption)
        if advice:
            yield "untrained_corruption", Diagnosis(advice)
        yield "restored", image_grid(torch.cat(rows), min(self.columns, len(clean[0])))


@EVALUATORS("denoise")
@dataclass
class Denoise(Restoration):
    """Images with noise added, clipped to [0, 1]; `amounts` as in `model.corruption`."""

    corruption: Literal["gaussian", "masking", "salt_pepper"] = "gaussian"
    amounts: Annotated[tuple[NonNegativeFloat, ...], MinLen(1)] = (0.1, 0.3, 0.5)

    needs = (Reconstructs | Denoises,)
    corrupted_name, method = "noisy", "denoise"

    def options(self, model: Any) -> dict[str, Any]:
        if self.corruption != "gaussian" and not isinstance(model, Reconstructs):
            raise ConfigError("the model removes only Gaussian noise", f"{self.key}.corruption={self.corruption}",
                              f"use {self.key}.corruption=gaussian")  # fmt: skip
        return super().options(model)

    def levels(self) -> dict[float, Corrupt]:
        return {amount: with_noise(self.corruption, amount, "evaluator denoise") for amount in self.amounts}


@EVALUATORS("inpaint")
@dataclass
class Inpaint(Restoration):
    """Images with a gray square at a random position; `boxes` are its sides as fractions of the image's shorter side.

    Only the square is taken from the restoration; the pixels around it are known.
    """

    boxes: Annotated[tuple[Fraction, ...], MinLen(1)] = (0.25, 0.5)

    needs = (Reconstructs | Inpaints,)
    corrupted_name, corruption, method = "masked", "box", "inpaint"

    def levels(self) -> dict[float, Corrupt]:
        return {box: with_box(box) for box in self.boxes}


def _validation(split: Split, n: int) -> Tensor | None:
    try:
        return split.sibling("valid").take(n, ("image",))[0]
    except ConfigError:  # the data set has none
        return None


def projection(pca: PCA, count: int) -> Restore:
    """Images to their projections on the first `count` of the components."""
    kept = torch.arange(pca.latent_dim, device=pca.moments.total.device) < count
    return lambda image: pca.decode(pca.encode(image) * kept)


def best_count(pca: PCA, clean: Tensor, corrupted: Corrupted) -> int:
    """The number of components, a power of two or all of them, whose projection has the highest PSNR."""
    counts = [2**power for power in range(pca.latent_dim.bit_length()) if 2**power < pca.latent_dim]
    counts.append(pca.latent_dim)

    def quality(count: int) -> float:
        return float(psnr(clean, keeping_known(corrupted, projection(pca, count)(corrupted.image))).mean())

    return max(counts, key=quality)

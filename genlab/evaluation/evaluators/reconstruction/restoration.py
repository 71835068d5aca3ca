"""How well a model restores corrupted images: PSNR and SSIM against the clean images, at several levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import Encodes, Reconstructs
from genlab.core.values import Diagnosis, Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.reconstruction.reconstruction import principal_components
from genlab.models.classical.pca import MAX_DIMENSIONS, PCA
from genlab.nn.augment.corruptions import GRAY, box_mask, untrained_corruption
from genlab.nn.losses.image_similarity import psnr, ssim
from genlab.registry import CORRUPTIONS, EVALUATORS, Fraction, NonNegativeFloat, PositiveInt
from genlab.reports.grid import image_grid

BATCH = 250
Corrupt = Callable[[Tensor], tuple[Tensor, Tensor | None]]  # the corrupted images, and where they are unknown
Restore = Callable[..., Tensor]


@dataclass
class Restoration(Evaluator):
    """The base of `denoise` and `inpaint`: PSNR and SSIM at each level of corruption.

    Names are psnr/WHAT/LEVEL and ssim/WHAT/LEVEL. WHAT is the corrupted image itself, the model's restoration
    (restored), or the projection on principal components of the training images: as many as the code has dimensions
    (pca), or the number that restores corrupted validation images best (pca_best), components/pca_best/LEVEL.
    PCA is left out for images too large for a covariance, and pca_best without validation images.
    """

    n: PositiveInt = 1000
    columns: PositiveInt = 8

    needs = (Reconstructs,)
    notes = {
        "psnr": "dB, mean over images; clean and restored images in [0, 1]",
        "ssim": "window 11, σ 1.5 (Wang et al. 2004)",
        "pca": "fitted on train, as many components as the code has dimensions",
        "pca_best": "a power of two of components, or all: the highest PSNR on corrupted validation images",
    }
    corrupted: ClassVar[str]  # the name of a corrupted image in a figure's name

    def __post_init__(self) -> None:
        self.levels()  # a level out of range is refused before training

    @property
    def corruption(self) -> str:
        """What `model.corruption` calls it."""
        raise NotImplementedError

    def levels(self) -> dict[float, Corrupt]:
        """Ways to corrupt images, by level."""
        raise NotImplementedError

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        ways: dict[str, Restore] = {self.corrupted: lambda corrupted, *_: corrupted, "restored": model.reconstruct}
        clean = split.take(self.n, ("image", *model.conditions))
        pca, valid = None, None
        if isinstance(model, Encodes) and clean[0][0].numel() <= MAX_DIMENSIONS:
            length = model.encode(*(column[:1] for column in clean)).flatten(1).shape[1]
            pca = principal_components(split.sibling("train"), clean[0][0].numel())
            ways["pca"] = projection(pca, length)
            valid = _validation(split, self.n)
        rows = []
        for amount, corrupt in self.levels().items():
            totals: dict[str, Tensor] = {}
            if pca is not None and valid is not None:
                count = best_count(pca, valid, *corrupt(valid))
                ways["pca_best"] = projection(pca, count)
                yield f"components/pca_best/{amount:g}", count
            for index, columns in enumerate(zip(*(column.split(BATCH) for column in clean), strict=True)):
                image, *conditions = columns
                corrupted, unknown = corrupt(image)
                results = {who: _restored(way, corrupted, unknown, conditions) for who, way in ways.items()}
                for who, images in results.items():
                    for name, measure in (("psnr", psnr), ("ssim", ssim)):
                        key = f"{name}/{who}/{amount:g}"
                        totals[key] = totals.get(key, 0) + measure(image, images).double().sum()
                if index == 0:
                    rows += [x[: self.columns] for x in (image, corrupted, results["restored"])]
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

    corrupted = "noisy"

    def levels(self) -> dict[float, Corrupt]:
        def level(amount: float) -> Corrupt:
            corrupt = CORRUPTIONS.build({"name": self.corruption, "amount": amount}, "evaluator denoise")
            return lambda image: (corrupt(image), None)

        return {amount: level(amount) for amount in self.amounts}


@EVALUATORS("inpaint")
@dataclass
class Inpaint(Restoration):
    """Images with a gray square at a random position; `boxes` are its sides as fractions of the image's shorter side.

    Only the square is taken from the restoration; the pixels around it are known.
    """

    boxes: Annotated[tuple[Fraction, ...], MinLen(1)] = (0.25, 0.5)

    corrupted, corruption = "masked", "box"

    def levels(self) -> dict[float, Corrupt]:
        def level(box: float) -> Corrupt:
            def corrupt(image: Tensor) -> tuple[Tensor, Tensor]:
                unknown = box_mask(image, box)
                return image.masked_fill(unknown, GRAY), unknown

            return corrupt

        return {box: level(box) for box in self.boxes}


def _validation(split: Split, n: int) -> Tensor | None:
    try:
        return split.sibling("valid").take(n, ("image",))[0]
    except ConfigError:  # the data set has none
        return None


def projection(pca: PCA, count: int) -> Restore:
    """Images to their projections on the first `count` of the components."""
    kept = torch.arange(pca.latent_dim, device=pca.moments.total.device) < count
    return lambda image, *conditions: pca.decode(pca.encode(image) * kept)


def best_count(pca: PCA, clean: Tensor, corrupted: Tensor, unknown: Tensor | None) -> int:
    """The number of components, a power of two or all of them, whose projection has the highest PSNR."""
    counts = [2**power for power in range(pca.latent_dim.bit_length()) if 2**power < pca.latent_dim]
    counts.append(pca.latent_dim)

    def quality(count: int) -> float:
        return float(psnr(clean, _restored(projection(pca, count), corrupted, unknown, [])).mean())

    return max(counts, key=quality)


def _restored(way: Restore, corrupted: Tensor, unknown: Tensor | None, conditions: list[Tensor]) -> Tensor:
    restored = way(corrupted, *conditions)
    return restored if unknown is None else torch.where(unknown, restored, corrupted)

"""How much of a corrupted image a model gives back: PSNR and SSIM against the clean one, at several levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from genlab.core.model import Encodes, Model, Reconstructs
from genlab.core.values import Value
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.reconstruction.reconstruction import principal_components
from genlab.models.classical.pca import LARGEST, PCA
from genlab.nn.augment.corruptions import GRAY, box_mask
from genlab.nn.losses.image_similarity import psnr, ssim
from genlab.registry import CORRUPTIONS, EVALUATORS, Duration, Fraction, NonNegativeFloat, PositiveInt
from genlab.reports.grid import image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split

BATCH = 250
Corrupt = Callable[[Tensor], tuple[Tensor, Tensor | None]]  # the corrupted images, and where they are unknown
Restore = Callable[..., Tensor]


class Restoration:
    """What `denoise` and `inpaint` share; `levels` are ways to corrupt an image, by their amount.

    The names are psnr/WHO/AMOUNT and ssim/WHO/AMOUNT, WHO being the corrupted image itself, the model (restored), the
    projection (pca) on as many principal components of the training images as the model's code has numbers, or, as
    pca_best, on the number of them that gives back most of corrupted validation images, components/pca_best/AMOUNT.
    There is no PCA of images that are too large for a covariance, and no best number without validation images.
    """

    split: str | None = "valid"

    def __init__(
        self, corrupted: str, levels: dict[float, Corrupt], n: int, columns: int, every: Duration | None
    ) -> None:
        self.corrupted, self.levels = corrupted, levels
        self.n, self.columns, self.every = n, columns, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Reconstructs)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, Reconstructs)
        ways: dict[str, Restore] = {self.corrupted: lambda corrupted, *_: corrupted, "restored": model.reconstruct}
        given = split.first(self.n, ("image", *model.conditions))
        pca, valid = None, None
        if isinstance(model, Encodes) and given[0][0].numel() <= LARGEST:
            length = model.encode(*(column[:1] for column in given)).flatten(1).shape[1]
            pca = principal_components(split.sibling("train"), given[0][0].numel())
            ways["pca"] = projection(pca, length)
            valid = _validation(split, self.n)
        rows = []
        for amount, corrupt in self.levels.items():
            totals: dict[str, Tensor] = {}
            if pca is not None and valid is not None:
                count = best_count(pca, valid, *corrupt(valid))
                ways["pca_best"] = projection(pca, count)
                yield f"components/pca_best/{amount:g}", count
            for index, columns in enumerate(zip(*(column.split(BATCH) for column in given), strict=True)):
                image, *conditions = columns
                corrupted, unknown = corrupt(image)
                made = {who: _made(way, corrupted, unknown, conditions) for who, way in ways.items()}
                for who, images in made.items():
                    for name, measure in (("psnr", psnr), ("ssim", ssim)):
                        key = f"{name}/{who}/{amount:g}"
                        totals[key] = totals.get(key, 0) + measure(image, images).double().sum()
                if index == 0:
                    rows += [x[: self.columns] for x in (image, corrupted, made["restored"])]
            yield from ((key, total / len(given[0])) for key, total in totals.items())
        yield "restored", image_grid(torch.cat(rows), min(self.columns, len(given[0])))

    def protocol(self) -> dict[str, Any]:
        return {
            "images": self.n,
            "psnr": "dB, mean over images; clean and restored images in [0, 1]",
            "ssim": "window 11, σ 1.5 (Wang et al. 2004)",
            "pca": "fitted on train, as many components as the code has numbers",
            "pca_best": "a power of two of components, or all: the highest PSNR on corrupted validation images",
        }


@EVALUATORS("denoise")
class Denoise(Restoration):
    """Images with noise added and cut off at 0 and 1; `amounts` as in `model.corruption`."""

    def __init__(
        self,
        corruption: Literal["gaussian", "masking", "salt_pepper"] = "gaussian",
        amounts: Annotated[tuple[NonNegativeFloat, ...], MinLen(1)] = (0.1, 0.3, 0.5),
        n: PositiveInt = 1000,
        columns: PositiveInt = 8,
        every: Duration | None = None,
    ) -> None:
        levels = {amount: self._level(corruption, amount) for amount in amounts}
        super().__init__("noisy", levels, n, columns, every)
        self.corruption = corruption

    @staticmethod
    def _level(corruption: str, amount: float) -> Corrupt:
        corrupt = CORRUPTIONS.build({"name": corruption, "amount": amount}, "evaluator denoise")
        return lambda image: (corrupt(image), None)

    def protocol(self) -> dict[str, Any]:
        return {"corruption": self.corruption, **super().protocol()}


@EVALUATORS("inpaint")
class Inpaint(Restoration):
    """Images with a grey square somewhere, `boxes` being its sides as shares of the image's shorter one.

    Only the square is taken from the restoration; around it the image is known.
    """

    def __init__(
        self,
        boxes: Annotated[tuple[Fraction, ...], MinLen(1)] = (0.25, 0.5),
        n: PositiveInt = 1000,
        columns: PositiveInt = 8,
        every: Duration | None = None,
    ) -> None:
        levels = {box: self._level(box) for box in boxes}
        super().__init__("masked", levels, n, columns, every)

    @staticmethod
    def _level(box: float) -> Corrupt:
        def corrupt(image: Tensor) -> tuple[Tensor, Tensor]:
            unknown = box_mask(image, box)
            return image.masked_fill(unknown, GRAY), unknown

        return corrupt


def _validation(split: Split, n: int) -> Tensor | None:
    try:
        return split.sibling("valid").first(n, ("image",))[0]
    except ConfigError:  # the data set keeps none
        return None


def projection(pca: PCA, count: int) -> Restore:
    """Images to their projections on the first `count` of the components."""
    kept = torch.arange(pca.latent_dim, device=pca.moments.total.device) < count
    return lambda image, *conditions: pca.decode(pca.encode(image) * kept)


def best_count(pca: PCA, clean: Tensor, corrupted: Tensor, unknown: Tensor | None) -> int:
    """The number of components, a power of two or all of them, whose projection gives back most, by PSNR."""
    counts = [2**power for power in range(pca.latent_dim.bit_length()) if 2**power < pca.latent_dim]
    counts.append(pca.latent_dim)

    def quality(count: int) -> float:
        return float(psnr(clean, _made(projection(pca, count), corrupted, unknown, [])).mean())

    return max(counts, key=quality)


def _made(way: Restore, corrupted: Tensor, unknown: Tensor | None, conditions: list[Tensor]) -> Tensor:
    restored = way(corrupted, *conditions)
    return restored if unknown is None else torch.where(unknown, restored, corrupted)

"""Translation from picture to picture: what it makes, and how far that is from what was wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core.model import Model, Translates, TranslatesBack
from genlab.core.values import Value
from genlab.errors import ConfigError
from genlab.nn.losses.image_similarity import psnr, ssim
from genlab.registry import EVALUATORS, Duration, PositiveInt
from genlab.reports.grid import image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split

COLUMNS = ("a", "b")


@EVALUATORS("translations")
class Translations:
    """The first pictures of a split: inputs, their translations, and below them the targets.

    Of a model that also translates back: a, a to b, there and back; then b, b to a, there and back.
    """

    split: str | None = "valid"

    def __init__(self, n: PositiveInt = 8, every: Duration | None = "10%") -> None:
        self.n = n
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Translates)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, Translates)
        a, b = split.first(self.n, COLUMNS)
        rows = [a, model.translate(a), b]
        if isinstance(model, TranslatesBack):
            back = model.translate_back(b)
            rows = [*rows[:2], model.translate_back(rows[1]), b, back, model.translate(back)]
        yield "translations", image_grid(torch.cat(rows), len(a))

    def protocol(self) -> dict[str, Any]:
        return {"images": self.n}


@EVALUATORS("translation")
class Translation:
    """Translations of column a against their partners b: `l1`, the mean absolute error of pixels, `psnr` in dB, `ssim`.

    `input_l1`, `input_psnr` and `input_ssim` are those of the inputs as they are, taken for translations. All are means
    over pictures in [0, 1]. ConfigError for data whose pairs have nothing to do with each other.
    """

    split: str | None = "valid"

    def __init__(self, batch_size: PositiveInt = 50, every: Duration | None = None) -> None:
        self.batch_size = batch_size
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Translates)

    def check(self, split: Split) -> None:
        if not split.table.aligned:
            raise ConfigError(
                "these pictures have no partners to be compared with",
                f"evaluator translation; data set '{split.table.name}'",
                "use evaluator=translations, or data in pairs",
            )

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        totals, rows = self.sums(model, split, 0, 1)
        yield from ((name, total / rows) for name, total in totals.items())

    def sums(self, model: Model, split: Split, rank: int, world_size: int) -> tuple[dict[str, Tensor], int]:
        """The sums over the pictures of this rank's batches, and how many pictures these are."""
        assert isinstance(model, Translates)
        self.check(split)
        totals: dict[str, Tensor] = {}
        rows = 0
        for a, b in split.batches(COLUMNS, self.batch_size, rank, world_size):
            rows += len(a)
            for prefix, made in (("", model.translate(a)), ("input_", a)):
                for name, each in differences(made, b).items():
                    totals[prefix + name] = totals.get(prefix + name, 0) + each.double().sum()
        return totals, rows

    def protocol(self) -> dict[str, Any]:
        return {
            "mean": "over the pictures of the split, in [0, 1]",
            "ssim": "window 11, σ 1.5 (Wang et al. 2004)",
            "input": "the input itself, taken for the translation",
        }


def differences(made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Each picture's mean absolute error, PSNR and SSIM, (N,) each."""
    l1 = (made.double() - wanted.double()).abs().flatten(1).mean(1)
    return {"l1": l1, "psnr": psnr(wanted, made), "ssim": ssim(wanted, made)}

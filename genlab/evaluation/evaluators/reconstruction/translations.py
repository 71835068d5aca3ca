"""Image-to-image translation: examples of translations, and their distance from the targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.evaluator import Evaluator, MeanEvaluator
from genlab.core.model import Translates, TranslatesBack
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.nn.losses.image_similarity import psnr, ssim
from genlab.registry import EVALUATORS, PositiveInt
from genlab.reports.grid import image_grid

COLUMNS = ("a", "b")


@EVALUATORS("translations")
@dataclass
class Translations(Evaluator):
    """n images of a split: inputs, their translations, and below them the targets.

    For a model that also translates back: a, a to b, there and back; then b, b to a, there and back.
    """

    n: PositiveInt = 8

    needs = (Translates,)

    def run(self, model: Translates, split: Split) -> Iterator[tuple[str, Value]]:
        a, b = split.take(self.n, COLUMNS)
        rows = [a, model.translate(a), b]
        if isinstance(model, TranslatesBack):
            back = model.translate_back(b)
            rows = [*rows[:2], model.translate_back(rows[1]), b, back, model.translate(back)]
        yield "translations", image_grid(torch.cat(rows), len(a))


@EVALUATORS("translation")
@dataclass
class Translation(MeanEvaluator):
    """Translations of column a against their targets b: `l1`, the mean absolute error of pixels, `psnr` in dB, `ssim`.

    `input_l1`, `input_psnr` and `input_ssim` are those of the untranslated inputs. All are means over images in [0, 1].
    ConfigError for data whose pairs are unrelated.
    """

    batch_size: PositiveInt = 50

    needs = (Translates,)
    notes = {
        "mean": "over the images of the split, in [0, 1]",
        "ssim": "window 11, σ 1.5 (Wang et al. 2004)",
        "input": "the input itself, taken for the translation",
    }

    def check(self, model: Any, split: Split) -> None:
        if not split.table.aligned:
            raise ConfigError(
                "these images have no targets to be compared with",
                f"evaluator translation; data set '{split.table.name}'",
                "use evaluator=translations, or paired data",
            )

    def batches(self, model: Any, split: Split, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        self.check(model, split)
        for a, b in split.batches(COLUMNS, self.batch_size, rank, world_size):
            yield (
                len(a),
                {
                    prefix + name: each.double().sum()
                    for prefix, made in (("", model.translate(a)), ("input_", a))
                    for name, each in differences(made, b).items()
                },
            )


def differences(made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Each image's mean absolute error, PSNR and SSIM, (N,) each."""
    l1 = (made.double() - wanted.double()).abs().flatten(1).mean(1)
    return {"l1": l1, "psnr": psnr(wanted, made), "ssim": ssim(wanted, made)}

"""What coarse and fine styles each determine in an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from genlab.core.evaluator import Evaluator
from genlab.core.model import HasPrior, MixesStyles
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Count, Duration, Fraction
from genlab.reports.grid import image_grid


@EVALUATORS("style_mixing")
@dataclass
class StyleMixing(Evaluator):
    """A table of images: coarse layers take the style of the image left of the row, fine ones that of the image above.

    Karras, Laine & Aila, CVPR 2019 (arXiv:1812.04948), figure 3. `coarse` is the fraction of the layers, from the
    first, that take the row's style; `truncation` moves both styles towards their mean.
    """

    rows: Count = 6
    columns: Count = 8
    coarse: Fraction = 0.5
    truncation: Fraction = 0.7
    every: Duration | None = "10%"

    split = None
    needs = (MixesStyles, HasPrior)

    def run(self, model: Any, split: None) -> Iterator[tuple[str, Value]]:
        styles = model.styles(model.prior(self.rows + self.columns), self.truncation)
        left, above = styles.split([self.rows, self.columns])
        first = round(self.coarse * styles.shape[1])
        top = model.render(above)
        lines = [torch.cat([torch.ones_like(top[:1]), top])]
        for style in left.split(1):
            mixed = torch.cat([style[:, :first].expand(self.columns, -1, -1), above[:, first:]], 1)
            lines.append(model.render(torch.cat([style, mixed])))
        yield "style_mixing", image_grid(torch.cat(lines), self.columns + 1)

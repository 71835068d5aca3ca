"""What coarse and fine styles each decide of an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from genlab.core.model import HasPrior, MixesStyles, Model
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Count, Duration, Fraction
from genlab.reports.grid import image_grid

if TYPE_CHECKING:
    from genlab.data.dataset import Split


@EVALUATORS("style_mixing")
class StyleMixing:
    """A table of images: the coarse layers' style is that of the image at the row's left, the fine ones' that above.

    Karras, Laine & Aila, CVPR 2019 (arXiv:1812.04948), figure 3. `coarse` is the share of the layers, the first ones,
    that take the row's style; `truncation` draws both styles to their mean.
    """

    split: str | None = None

    def __init__(
        self,
        rows: Count = 6,
        columns: Count = 8,
        coarse: Fraction = 0.5,
        truncation: Fraction = 0.7,
        every: Duration | None = "10%",
    ) -> None:
        self.rows, self.columns, self.coarse, self.truncation = rows, columns, coarse, truncation
        self.every = every

    def applies(self, model: Model) -> bool:
        return isinstance(model, MixesStyles) and isinstance(model, HasPrior)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert isinstance(model, MixesStyles)
        assert isinstance(model, HasPrior)
        styles = model.styles(model.prior(self.rows + self.columns), self.truncation)
        left, above = styles.split([self.rows, self.columns])
        first = round(self.coarse * styles.shape[1])
        top = model.render(above)
        lines = [torch.cat([torch.ones_like(top[:1]), top])]
        for style in left.split(1):
            mixed = torch.cat([style[:, :first].expand(self.columns, -1, -1), above[:, first:]], 1)
            lines.append(model.render(torch.cat([style, mixed])))
        yield "style_mixing", image_grid(torch.cat(lines), self.columns + 1)

    def protocol(self) -> dict[str, Any]:
        return {"coarse": self.coarse, "truncation": self.truncation}

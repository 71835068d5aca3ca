"""SimCLR: codes of two random views of an image are similar, and different from those of other images.

Chen, Kornblith, Norouzi & Hinton, A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020
(arXiv:2002.05709): source of the equation below.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genlab.models.self_supervised.two_views import TwoViews
from genlab.nn.losses.contrastive import nt_xent
from genlab.registry import MODELS, PositiveFloat


@MODELS("simclr")
class SimCLR(TwoViews):
    """`temperature` is τ: the smaller, the more the most similar of the other images count."""

    def __init__(self, temperature: PositiveFloat = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.temperature = temperature

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` in nats, log(2N − 1) for N images whose codes are all equal; `partner_found`: the fraction of views
        whose partner is the most similar of all."""
        losses, found = nt_xent(*self.embeddings(image), self.temperature, self.training)  # eq. 1
        return {"loss": losses.mean(), "partner_found": found.float().mean()}

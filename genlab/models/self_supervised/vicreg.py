"""VICReg: embeddings of two views agree, and each dimension varies and differs from the others.

Neither other images nor a second network is needed: the variance term keeps embeddings from becoming all the same.

Bardes, Ponce & LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, ICLR 2022
(arXiv:2105.04906): source of the equation below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.models.self_supervised.two_views import TwoViews
from genlab.nn.losses.contrastive import vicreg
from genlab.registry import MODELS, NonNegativeFloat


@MODELS("vicreg")
class VICReg(TwoViews):
    """`invariance`, `variance` and `covariance` are the weights λ, μ and ν."""

    def __init__(
        self,
        invariance: NonNegativeFloat = 25.0,
        variance: NonNegativeFloat = 25.0,
        covariance: NonNegativeFloat = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` = λ·invariance + μ·variance + ν·covariance, without a unit: eq. 6."""
        terms = vicreg(*self.embeddings(image), self.training)
        weighted = torch.stack([weight * terms[name] for name, weight in self.weights.items()])
        return {"loss": weighted.sum(), **terms}

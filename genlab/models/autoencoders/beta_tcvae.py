"""β-TCVAE: a VAE that penalizes only the dependence between the dimensions of the code.

The KL of a VAE is the sum of the information between image and code, of the total correlation of the code, and of the
distance of each of its dimensions from the prior. A β-VAE weighs all three; here β weighs the total correlation alone,
so that independent dimensions cost no information about the image.

Chen, Li, Grosse & Duvenaud, Isolating Sources of Disentanglement in Variational Autoencoders, NeurIPS 2018
(arXiv:1802.04942): equations below, with α = γ = 1.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genlab.core.global_batch import gathered
from genlab.models.autoencoders.vae import VAE
from genlab.nn.losses.total_correlation import total_correlation
from genlab.registry import MODELS, NonNegativeFloat


@MODELS("beta_tcvae")
class BetaTCVAE(VAE):
    """`beta` is the weight of the total correlation in eq. 5; with 1 this is the VAE."""

    def __init__(self, beta: NonNegativeFloat = 6.0, **options: Any) -> None:
        super().__init__(**options)
        self.tc_weight = beta - 1  # the KL contains it once

    def further_terms(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, tuple[float, Tensor]]:
        """The total correlation by minibatch-weighted sampling, eq. 4, over the images of all ranks."""
        posteriors = (gathered(each, self.training) for each in (mean, log_variance))
        return {"total_correlation": (self.tc_weight, total_correlation(z, *posteriors))}

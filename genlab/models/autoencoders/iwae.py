"""Importance weighted autoencoder (IWAE).

The VAE's two networks with a tighter bound: K codes are sampled for an image, and the bound is the logarithm of their
mean weight instead of the mean of the logarithms. A code that explains the image badly then costs little.

Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016 (arXiv:1509.00519): equations below.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.core.model import Shape
from genlab.models.autoencoders.vae import VAE
from genlab.nn.losses.divergences import kl_standard_normal
from genlab.nn.losses.likelihood import Likelihood, Sigma
from genlab.registry import MODELS, NetworkSpec, PositiveInt


@MODELS("iwae")
class IWAE(VAE):
    """`samples` is K. With K = 1 the bound is the VAE's, with an estimated KL instead of the exact one."""

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 50,
        likelihood: Likelihood = "bernoulli",
        sigma: Sigma = "learned",
        binarize: bool = True,
        samples: PositiveInt = 5,
    ) -> None:
        super().__init__(image_shape, network, decoder, latent_dim, likelihood, sigma, binarize)
        self.samples = samples

    def loss(self, image: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """`loss` is −L_K in nats; `elbo` is the bound with one code per image, `kl` exact, `reconstruction` −elbo − kl.

        The gradient of the logarithm weights each code by its normalized importance weight: eq. 14.
        """
        x = self.observe(image)
        mean, log_variance = self.posterior(x, *conditions)
        log_w = self.importance_weights(x, mean, log_variance, self.samples, *conditions)
        bound = torch.logsumexp(log_w, 1) - math.log(self.samples)  # eq. 8: L_K = log 1/K Σ p(x,z_k) / q(z_k|x)
        elbo, kl = log_w.detach().mean(), kl_standard_normal(mean.detach(), log_variance.detach()).mean()
        return {"loss": -bound.mean(), "elbo": elbo, "reconstruction": -elbo - kl, "kl": kl}

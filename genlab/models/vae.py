"""Variational autoencoder.

The encoder gives a Gaussian over codes, q(z|x); the decoder a law over images, p(x|z). Both climb a lower
bound on log p(x), differentiated through the sample z = μ + σ⊙ε.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114): equations below are theirs.
β: Higgins et al., β-VAE, ICLR 2017. Learned σ: Rybkin, Daniilidis & Levine, Simple and Effective VAE Training
with Calibrated Decoders, ICML 2021 (arXiv:2006.13202).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from genlab import noise
from genlab.losses.divergences import kl_standard_normal
from genlab.losses.likelihood import bernoulli_nll, gaussian_nll
from genlab.model import Model, Shape
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, PositiveFloat, PositiveInt


@MODELS("vae")
class VAE(Model):
    """`decoder` is another spec than `network` for p(x|z); None mirrors `network`."""

    log_sigma: Tensor

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 20,
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        sigma: PositiveFloat | Literal["learned"] = "learned",
        beta: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.latent_dim, self.likelihood, self.beta = latent_dim, likelihood, beta
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=2 * latent_dim)
        self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=latent_dim, out=image_shape)
        if likelihood == "bernoulli":
            return
        if sigma == "learned":  # its optimum is the root mean squared error of a pixel (Rybkin et al., section 3)
            self.log_sigma = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_sigma", torch.tensor(math.log(float(sigma))))

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` minimises reconstruction + β·kl; `elbo` is the true bound, β left out. All in nats."""
        mean, log_variance = self.posterior(image)
        z = mean + torch.exp(0.5 * log_variance) * noise.normal(*mean.shape, like=mean)  # eq. 10: z = μ + σ⊙ε
        reconstruction = self.nll(self.decoder(z), image).mean()  # −E log p(x|z), one sample
        kl = kl_standard_normal(mean, log_variance).mean()  # KL(q(z|x) ‖ p(z))
        return {
            "loss": reconstruction + self.beta * kl,
            "elbo": -(reconstruction.detach() + kl.detach()),  # eq. 3
            "reconstruction": reconstruction,
            "kl": kl,
        }

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x), each (N, latent_dim): eq. 9."""
        mean, log_variance = self.encoder(image).float().chunk(2, dim=1)
        return mean, log_variance

    def nll(self, logits: Tensor, image: Tensor) -> Tensor:
        """−log p(x|z) of each image, (N,), from the decoder's logits: eq. 11 (Bernoulli) or 12 (Gaussian)."""
        if self.likelihood == "bernoulli":
            return bernoulli_nll(logits, image)
        return gaussian_nll(logits.float().sigmoid(), image, self.log_sigma)  # images lie in [0, 1]

    def prior(self, n: int) -> Tensor:
        return self.normal(n, self.latent_dim)

    def sample(self, n: int) -> Tensor:
        """The mean images of n codes from the prior: what papers show; the law's own noise is not added."""
        return self.decode(self.prior(n))

    def encode(self, image: Tensor) -> Tensor:
        """The mean code μ(x)."""
        return self.posterior(image)[0]

    def decode(self, code: Tensor) -> Tensor:
        """The mean image of p(x|z)."""
        return self.decoder(code).float().sigmoid()

    def reconstruct(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))

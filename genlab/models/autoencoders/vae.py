"""Variational autoencoder (VAE).

The encoder outputs a Gaussian over codes, q(z|x), the decoder a distribution over images, p(x|z). Both maximize a lower
bound on log p(x), differentiated through the sample z = μ + σ⊙ε.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114): source of the equations below.
β: Higgins et al., β-VAE, ICLR 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Shape
from genlab.nn.losses.divergences import BETAS, BetaSpec, KLPenalty, kl_per_dimension, kl_standard_normal
from genlab.nn.losses.likelihood import Likelihood, OutputDistribution, Sigma, binarize
from genlab.nn.losses.perceptual import PERCEPTUAL, FeatureDistance, PerceptualSpec
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, PositiveInt


@MODELS("vae")
class VAE(Model):
    """The decoder is built from `decoder` or, if that is None, mirrors `network`.

    With `binarize`, pixels are sampled anew at every step: white with the gray level as the probability, else black.
    """

    points: ClassVar[Mapping[str, Any] | None] = {"likelihood": "gaussian", "binarize": False}

    progress: Tensor  # fraction of training done; exists only if the KL's weight is scheduled

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        decoder: NetworkSpec | None = None,
        latent_dim: PositiveInt = 20,
        likelihood: Likelihood = "bernoulli",
        sigma: Sigma = "learned",
        binarize: bool = False,
        beta: NonNegativeFloat = 1.0,
        beta_schedule: BetaSpec = "constant",
        perceptual: PerceptualSpec | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim, self.binarize, self.beta = latent_dim, binarize, beta
        self.penalty: KLPenalty = BETAS.build(beta_schedule, "model.beta_schedule")
        self.output_distribution = OutputDistribution(likelihood, sigma, of_points=image_shape[1:] == (1, 1))
        self.perceptual: FeatureDistance | None = None
        if perceptual:
            self.perceptual = PERCEPTUAL.build(perceptual, "model.perceptual", image_shape=image_shape)
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=2 * latent_dim)
        self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=latent_dim, out=image_shape)
        if self.penalty.function:
            self.register_buffer("progress", torch.ones(()), persistent=False)

    @property
    def monitor(self) -> str | None:  # type: ignore[override]
        """`loss`, once the KL's weight is constant; before that, losses of different steps are not comparable."""
        changing = self.penalty.settled and self.progress < self.penalty.settled
        return None if changing else "loss"

    def loss(self, image: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """`loss` = reconstruction + β·penalty (+ further terms); `elbo` is the true bound, without β.

        In nats, except for the perceptual loss, which has the units of its features.
        """
        x = self.observe(image)
        mean, log_variance = self.posterior(x, *conditions)
        z = mean + torch.exp(0.5 * log_variance) * rng.normal(*mean.shape, like=mean)  # eq. 10: z = μ + σ⊙ε
        logits = self.decoder(self.code(z, *conditions))
        reconstruction = self.output_distribution.nll(logits, x).mean()  # −E log p(x|z), one sample
        kl, penalty = self.divergence(mean, log_variance)
        terms = self.further_terms(z, mean, log_variance)
        if self.perceptual:  # of the mean image; not part of the bound
            distance = self.perceptual(image, self.output_distribution.mean(logits)).mean()
            terms["perceptual"] = (self.perceptual.weight, distance)
        loss = reconstruction + self.beta * penalty
        for weight, value in terms.values():
            loss = loss + weight * value
        return {
            "loss": loss,
            "elbo": -(reconstruction.detach() + kl.detach()),  # eq. 3
            "reconstruction": reconstruction,
            "kl": kl,
            **{name: value for name, (_, value) in terms.items()},
        }

    def further_terms(self, z: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Terms of the loss of a variant by name, each with its weight; z is the sample of the posterior, (N, D)."""
        return {}

    def divergence(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """KL(q(z|x) ‖ p(z)) and the term that β multiplies at this step, both averaged over the images."""
        if self.penalty.function is None:
            kl = kl_standard_normal(mean, log_variance).mean()
            return kl, kl
        each = kl_per_dimension(mean, log_variance)
        return each.sum(1).mean(), self.penalty(each, self.progress).mean()

    def observe(self, image: Tensor) -> Tensor:
        """The tensor whose likelihood is evaluated: binarized pixels, or the images in [0, 1] unchanged."""
        return binarize(image) if self.binarize else image

    def posterior(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x), each (N, latent_dim): eq. 9."""
        mean, log_variance = self.encoder(image).float().chunk(2, dim=1)
        return mean, log_variance

    def code(self, z: Tensor, *conditions: Tensor) -> Tensor:
        """The decoder's input, from z (N, latent_dim) and the conditions; here z alone."""
        return z

    def log_weights(self, x: Tensor, samples: int, *conditions: Tensor) -> Tensor:
        """log p(x|z) + log p(z) − log q(z|x), (N, samples), for z sampled from q; `x` as from `observe`.

        The mean of their exponentials estimates p(x).
        """
        return self.importance_weights(x, *self.posterior(x, *conditions), samples, *conditions)

    def importance_weights(
        self, x: Tensor, mean: Tensor, log_variance: Tensor, samples: int, *conditions: Tensor
    ) -> Tensor:
        """The same, from μ and log σ² of q."""
        mean, log_variance = mean.unsqueeze(1), log_variance.unsqueeze(1)
        epsilon = rng.normal(len(x), samples, self.latent_dim, like=mean)
        z = mean + torch.exp(0.5 * log_variance) * epsilon
        prior_to_posterior = 0.5 * (epsilon.square() - z.square() + log_variance).sum(2)  # the constants cancel
        x, *repeated = (each.repeat_interleave(samples, 0) for each in (x, *conditions))
        nll = self.output_distribution.nll(self.decoder(self.code(z.flatten(0, 1), *repeated)), x)
        return prior_to_posterior - nll.unflatten(0, (-1, samples))

    def prior(self, n: int) -> Tensor:
        return self.normal(n, self.latent_dim)

    def sample(self, n: int) -> Tensor:
        """The mean images of n codes from the prior, as papers show them: p(x|z) itself is not sampled."""
        return self.decode(self.prior(n))

    def encode(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """The code of the mean μ(x)."""
        return self.code(self.posterior(image, *conditions)[0], *conditions)

    def decode(self, code: Tensor) -> Tensor:
        """The mean image of p(x|z), in [0, 1]; of any range if it is a point."""
        return self.output_distribution.mean(self.decoder(code))

    def reconstruct(self, image: Tensor, *conditions: Tensor) -> Tensor:
        return self.decode(self.encode(image, *conditions))

    def score(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """−log p(x|μ(x)) + KL, (N,) in nats: the negative ELBO at the mean code instead of a sample."""
        mean, log_variance = self.posterior(image, *conditions)
        nll = self.output_distribution.nll(self.decoder(self.code(mean, *conditions)), image)
        return nll + kl_standard_normal(mean, log_variance)

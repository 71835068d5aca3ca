"""Variational autoencoder.

The encoder gives a Gaussian over codes, q(z|x); the decoder a law over images, p(x|z). Both climb a lower
bound on log p(x), differentiated through the sample z = μ + σ⊙ε.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114): equations below are theirs.
β: Higgins et al., β-VAE, ICLR 2017; how it changes over training: nn/losses/beta.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Shape
from genlab.nn.losses.beta import BETAS, BetaSpec, Penalty
from genlab.nn.losses.divergences import kl_of_dimensions, kl_standard_normal
from genlab.nn.losses.output_distribution import Likelihood, OutputDistribution, Sigma, binarize
from genlab.nn.losses.perceptual import PERCEPTUAL, FeatureDistance, PerceptualSpec
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, PositiveInt


@MODELS("vae")
class VAE(Model):
    """`decoder` is another spec than `network` for p(x|z); None mirrors `network`.

    With `binarize` a pixel is a coin that shows white with the pixel's grey as its probability, thrown anew each time.
    """

    progress: Tensor  # the share of training done; not there if the penalty is the KL itself

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
        self.penalty: Penalty = BETAS.build(beta_schedule, "model.beta_schedule")
        self.law = OutputDistribution(likelihood, sigma)
        self.perceptual: FeatureDistance | None = None
        if perceptual:
            self.perceptual = PERCEPTUAL.build(perceptual, "model.perceptual", image_shape=image_shape)
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=2 * latent_dim)
        self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=latent_dim, out=image_shape)
        if self.penalty.of:
            self.register_buffer("progress", torch.ones(()), persistent=False)

    @property
    def monitor(self) -> str | None:  # type: ignore[override]
        """`loss`, once it stands still: under two weights of the KL it is two objectives, and no step the better."""
        changing = self.penalty.settled and self.progress < self.penalty.settled
        return None if changing else "loss"

    def loss(self, image: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """`loss` minimises reconstruction + β·penalty (+ the perceptual loss); `elbo` is the true bound, β left out.

        In nats, but for the perceptual loss, which has the units of its features.
        """
        x = self.observe(image)
        mean, log_variance = self.posterior(x, *conditions)
        z = mean + torch.exp(0.5 * log_variance) * rng.normal(*mean.shape, like=mean)  # eq. 10: z = μ + σ⊙ε
        logits = self.decoder(self.code(z, *conditions))
        reconstruction = self.law.nll(logits, x).mean()  # −E log p(x|z), one sample
        kl, penalty = self.divergence(mean, log_variance)
        loss, perceptual = reconstruction + self.beta * penalty, {}
        if self.perceptual:  # of the mean image; it is no part of the bound
            perceptual["perceptual"] = self.perceptual(image, self.law.mean(logits)).mean()
            loss = loss + self.perceptual.weight * perceptual["perceptual"]
        return {
            "loss": loss,
            "elbo": -(reconstruction.detach() + kl.detach()),  # eq. 3
            "reconstruction": reconstruction,
            "kl": kl,
            **perceptual,
        }

    def divergence(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """KL(q(z|x) ‖ p(z)) and what β weighs at this moment, both means over the images."""
        if self.penalty.of is None:
            kl = kl_standard_normal(mean, log_variance).mean()
            return kl, kl
        each = kl_of_dimensions(mean, log_variance)
        return each.sum(1).mean(), self.penalty.of(each, self.progress).mean()

    def observe(self, image: Tensor) -> Tensor:
        """What is modelled of images in [0, 1]: themselves, or pixels thrown black or white by their grey."""
        return binarize(image) if self.binarize else image

    def posterior(self, image: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x), each (N, latent_dim): eq. 9."""
        mean, log_variance = self.encoder(image).float().chunk(2, dim=1)
        return mean, log_variance

    def code(self, z: Tensor, *conditions: Tensor) -> Tensor:
        """What the decoder reads of z (N, latent_dim) and its conditions; here z alone."""
        return z

    def log_weights(self, x: Tensor, samples: int, *conditions: Tensor) -> Tensor:
        """log p(x|z) + log p(z) − log q(z|x), (N, samples), of codes z drawn from q; `x` as from `observe`.

        The logarithm of their exponentials' mean estimates log p(x).
        """
        return self.weigh(x, *self.posterior(x, *conditions), samples, *conditions)

    def weigh(self, x: Tensor, mean: Tensor, log_variance: Tensor, samples: int, *conditions: Tensor) -> Tensor:
        """The same from q's μ and log σ²."""
        mean, log_variance = mean.unsqueeze(1), log_variance.unsqueeze(1)
        epsilon = rng.normal(len(x), samples, self.latent_dim, like=mean)
        z = mean + torch.exp(0.5 * log_variance) * epsilon
        prior_to_posterior = 0.5 * (epsilon.square() - z.square() + log_variance).sum(2)  # the constants cancel
        x, *given = (each.repeat_interleave(samples, 0) for each in (x, *conditions))
        nll = self.law.nll(self.decoder(self.code(z.flatten(0, 1), *given)), x)
        return prior_to_posterior - nll.unflatten(0, (-1, samples))

    def prior(self, n: int) -> Tensor:
        return self.normal(n, self.latent_dim)

    def sample(self, n: int) -> Tensor:
        """The mean images of n codes from the prior: what papers show; the law's own noise is not added."""
        return self.decode(self.prior(n))

    def encode(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """The code of the mean μ(x)."""
        return self.code(self.posterior(image, *conditions)[0], *conditions)

    def decode(self, code: Tensor) -> Tensor:
        """The mean image of p(x|z)."""
        return self.law.mean(self.decoder(code))

    def reconstruct(self, image: Tensor, *conditions: Tensor) -> Tensor:
        return self.decode(self.encode(image, *conditions))

    def score(self, image: Tensor, *conditions: Tensor) -> Tensor:
        """−log p(x|μ(x)) + KL, (N,): the negative ELBO with the mean code for the expectation, and so without noise."""
        mean, log_variance = self.posterior(image, *conditions)
        nll = self.law.nll(self.decoder(self.code(mean, *conditions)), image)
        return nll + kl_standard_normal(mean, log_variance)

"""Variational autoencoder.

The encoder gives a Gaussian over codes, q(z|x); the decoder a law over images, p(x|z). Both climb a lower
bound on log p(x), differentiated through the sample z = μ + σ⊙ε.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114): equations below are theirs.
β: Higgins et al., β-VAE, ICLR 2017; how it changes over training: losses/beta.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import noise
from genlab.losses.beta import BetaSpec, kl_penalty
from genlab.losses.divergences import kl_of_dimensions
from genlab.losses.pixel_law import Likelihood, PixelLaw, Sigma, thrown
from genlab.model import Model, Shape
from genlab.registry import MODELS, NETWORKS, NetworkSpec, NonNegativeFloat, PositiveInt


@MODELS("vae")
class VAE(Model):
    """`decoder` is another spec than `network` for p(x|z); None mirrors `network`.

    With `binarize` a pixel is a coin that shows white with the pixel's grey as its probability, thrown anew each time.
    """

    progress: Tensor  # the share of training done

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
    ) -> None:
        super().__init__()
        self.latent_dim, self.binarize, self.beta = latent_dim, binarize, beta
        self.penalty = kl_penalty(beta_schedule, "model.beta_schedule")
        self.law = PixelLaw(likelihood, sigma)
        self.encoder = NETWORKS.build(network, "model.network", inp=image_shape, out=2 * latent_dim)
        self.decoder = NETWORKS.build(decoder or network, "model.decoder", inp=latent_dim, out=image_shape)
        self.register_buffer("progress", torch.ones(()), persistent=False)

    def loss(self, image: Tensor, *conditions: Tensor) -> dict[str, Tensor]:
        """`loss` minimises reconstruction + β·penalty; `elbo` is the true bound, β left out. All in nats."""
        x = self.observe(image)
        mean, log_variance = self.posterior(x, *conditions)
        z = mean + torch.exp(0.5 * log_variance) * noise.normal(*mean.shape, like=mean)  # eq. 10: z = μ + σ⊙ε
        reconstruction = self.law.nll(self.decoder(self.code(z, *conditions)), x).mean()  # −E log p(x|z), one sample
        kl = kl_of_dimensions(mean, log_variance)  # KL(q(z|x) ‖ p(z)), (N, D)
        total = kl.sum(1).mean().detach()
        return {
            "loss": reconstruction + self.beta * self.penalty(kl, self.progress).mean(),
            "elbo": -(reconstruction.detach() + total),  # eq. 3
            "reconstruction": reconstruction,
            "kl": total,
        }

    def observe(self, image: Tensor) -> Tensor:
        """What is modelled of images in [0, 1]: themselves, or pixels thrown black or white by their grey."""
        return thrown(image) if self.binarize else image

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
        epsilon = noise.normal(len(x), samples, self.latent_dim, like=mean)
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
        return nll + kl_of_dimensions(mean, log_variance).sum(1)

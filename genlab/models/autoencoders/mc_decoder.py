"""A decoder trained by naive Monte Carlo: the counter-example that shows what a VAE's encoder is for.

The likelihood is estimated as it is defined, by codes drawn from the prior: p(x) ≈ 1/K Σ p(x|z_k). The logarithm of
that estimate is a bound as well, but in more than a few dimensions hardly any of the K codes lies where x comes from:
the best of them takes the whole sum, and the decoder learns K blurred averages.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114), section 2.1, and Doersch, Tutorial on
Variational Autoencoders, 2016 (arXiv:1606.05908), section 2, say why this is not done.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Shape
from genlab.nn.losses.output_distribution import binarize
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveInt


@MODELS("mc_decoder")
class MonteCarloDecoder(Model):
    """`samples` is K; the same K codes serve every image of a step. Pixels are Bernoulli, or thrown if `binarize`."""

    def __init__(
        self,
        image_shape: Shape,
        network: NetworkSpec,
        latent_dim: PositiveInt = 20,
        samples: PositiveInt = 200,
        binarize: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim, self.samples, self.binarize = latent_dim, samples, binarize
        self.decoder = NETWORKS.build(network, "model.network", inp=latent_dim, out=image_shape)

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` is −log 1/K Σ_k p(x|z_k), in nats; `codes_used` how many codes share the sum: 1 / Σ share²."""
        log_w = self.log_weights(self.observe(image), self.samples)
        nll = math.log(self.samples) - torch.logsumexp(log_w, 1)
        shares = log_w.detach().softmax(1)
        return {"loss": nll.mean(), "codes_used": (1 / shares.square().sum(1)).mean()}

    def observe(self, image: Tensor) -> Tensor:
        """What is modelled of images in [0, 1]: themselves, or pixels thrown black or white by their grey."""
        return binarize(image) if self.binarize else image

    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """log p(x|z_k), (N, samples), of codes from the prior, which are their own proposal."""
        with rng.alone():  # the same codes for every image, on whatever process it lies
            z = self.prior(samples)
        logits = self.decoder(z).float().flatten(1)
        with torch.autocast(x.device.type, enabled=False):  # sums over pixels of numbers that nearly cancel
            # log p(x|z) = x·l − Σ softplus(l) for every pair of an image and a code
            return x.flatten(1) @ logits.T - torch.nn.functional.softplus(logits).sum(1)

    def prior(self, n: int) -> Tensor:
        return self.normal(n, self.latent_dim)

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code).float().sigmoid()

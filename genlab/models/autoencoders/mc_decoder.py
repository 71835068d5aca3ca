"""Decoder trained by naive Monte Carlo: the counterexample that shows the purpose of a VAE's encoder.

The likelihood is estimated with codes sampled from the prior: p(x) ≈ 1/K Σ p(x|z_k). The logarithm of this estimate is
a bound too, but in more than a few dimensions hardly any of the K codes explains x: the best code dominates the sum,
and the decoder learns K blurred averages.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114), section 2.1, and Doersch, Tutorial on
Variational Autoencoders, 2016 (arXiv:1606.05908), section 2, explain why this fails.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Shape
from genlab.nn.losses.likelihood import binarize, pairwise_bernoulli_nll
from genlab.registry import MODELS, NETWORKS, NetworkSpec, PositiveInt


@MODELS("mc_decoder")
class MonteCarloDecoder(Model):
    """`samples` is K; all images of a step share the same K codes. With `binarize`, pixels are sampled at each step."""

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
        """`loss` is −log 1/K Σ_k p(x|z_k) in nats; `effective_samples` is 1 / Σ w_k² of the normalized weights."""
        log_w = self.log_weights(self.observe(image), self.samples)
        nll = math.log(self.samples) - torch.logsumexp(log_w, 1)
        weights = log_w.detach().softmax(1)
        return {"loss": nll.mean(), "effective_samples": (1 / weights.square().sum(1)).mean()}

    def observe(self, image: Tensor) -> Tensor:
        """The tensor whose likelihood is evaluated: binarized pixels, or the images in [0, 1] unchanged."""
        return binarize(image) if self.binarize else image

    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """log p(x|z_k), (N, samples), for codes z_k sampled from the prior."""
        with rng.replicated():  # the same codes on every process
            z = self.prior(samples)
        return -pairwise_bernoulli_nll(self.decoder(z), x)

    def prior(self, n: int) -> Tensor:
        return self.normal(n, self.latent_dim)

    def sample(self, n: int) -> Tensor:
        return self.decode(self.prior(n))

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code).float().sigmoid()

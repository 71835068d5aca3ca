"""The law p(x|z) of an image whose network gives logits: what a decoder's output means.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114), equations 11 and 12. Learned σ: Rybkin,
Daniilidis & Levine, Simple and Effective VAE Training with Calibrated Decoders, ICML 2021 (arXiv:2006.13202).
Discretised logistic: Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.nn.losses.likelihood import bernoulli_nll, discretized_logistic_nll, gaussian_nll
from genlab.registry import PositiveFloat

Likelihood = Literal["bernoulli", "gaussian", "logistic"]
Sigma = PositiveFloat | Literal["learned"]


def binarize(image: Tensor) -> Tensor:
    """Pixels thrown black or white, 0 or 1, each white with its grey in [0, 1] as the probability."""
    return (rng.uniform(*image.shape, like=image) < image).float()


class OutputDistribution(nn.Module):
    """Pixels are independent given z, their mean is sigmoid(logits), and one scale holds for all of them.

    `sigma` is that scale: the Gaussian's standard deviation, the logistic's s, in units of the range [0, 1]; the
    Bernoulli has none.
    """

    log_sigma: Tensor

    def __init__(self, likelihood: Likelihood = "bernoulli", sigma: Sigma = "learned") -> None:
        super().__init__()
        self.likelihood = likelihood
        if likelihood == "bernoulli":
            return
        if sigma == "learned":  # the Gaussian's optimum is a pixel's root mean squared error (Rybkin et al., section 3)
            start = 0.0 if likelihood == "gaussian" else math.log(0.1)
            self.log_sigma = nn.Parameter(torch.full((), start))
        else:
            self.register_buffer("log_sigma", torch.tensor(math.log(float(sigma))))

    def nll(self, logits: Tensor, image: Tensor) -> Tensor:
        """−log p(x|z) of each image, (N,), in nats summed over pixels (the Gaussian's is a density's)."""
        if self.likelihood == "bernoulli":
            return bernoulli_nll(logits, image)
        if self.likelihood == "gaussian":
            return gaussian_nll(self.mean(logits), image, self.log_sigma)
        return discretized_logistic_nll(self.mean(logits), image, self.log_sigma)

    @staticmethod
    def mean(logits: Tensor) -> Tensor:
        """E[x|z], in [0, 1]."""
        return logits.float().sigmoid()

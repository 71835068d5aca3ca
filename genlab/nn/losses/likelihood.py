"""Negative log-likelihoods of images, (N,) in nats, summed over pixels in float32; a decoder's output distribution.

Kingma & Welling, Auto-Encoding Variational Bayes, ICLR 2014 (arXiv:1312.6114), equations 11 and 12. Learned σ: Rybkin,
Daniilidis & Levine, Simple and Effective VAE Training with Calibrated Decoders, ICML 2021 (arXiv:2006.13202).
Discretized logistic: Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from genlab.core import rng
from genlab.registry import PositiveFloat

Likelihood = Literal["bernoulli", "gaussian", "logistic"]
Sigma = PositiveFloat | Literal["learned"]


class _BernoulliNLL(torch.autograd.Function):
    """softplus(l) − l·x, summed over pixels, with the gradient σ(l) − x.

    softplus(l) = max(l, 0) − log σ(|l|) is accurate for any l, since σ(|l|) lies in [½, 1]. torch's
    binary_cross_entropy_with_logits takes one log1p per pixel, which is slow on some CPUs; here up to 16 pixels share
    the logarithm of their product, which is at least 2⁻¹⁶.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        probability = logits.sigmoid()
        ctx.save_for_backward(logits, x, probability)
        # max(l, 0) − l·x is exactly 0 for a confident correct logit, so the small remainder is not lost to rounding
        linear = logits.clamp(min=0).addcmul_(logits, x, value=-1).flatten(1).sum(1)
        complement = 1 - probability
        confidence = torch.maximum(probability, complement, out=complement).flatten(1)  # σ(|l|)
        group = math.gcd(confidence.shape[1], 16)
        return linear - confidence.unflatten(1, (group, -1)).prod(1).log_().sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x, probability = ctx.saved_tensors
        grad = grad.view(-1, *[1] * (logits.dim() - 1))
        grad_x = -logits * grad if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, grad_x
        if torch.is_grad_enabled():  # double backward: this gradient depends on the logits
            return (logits.sigmoid() - x) * grad, grad_x
        return (probability - x).mul_(grad), grad_x


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """−log Bernoulli(x; sigmoid(logits)) of images (N, ...); for x strictly between 0 and 1 it is the cross entropy.

    Kingma & Welling (2014), equation 11.
    """
    return _BernoulliNLL.apply(logits.float(), x.float())


def pairwise_bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """`bernoulli_nll` of every image x (N, ...) under every one of K `logits` (K, ...): (N, K)."""
    logits, x = logits.float().flatten(1), x.float().flatten(1)
    with torch.autocast(x.device.type, enabled=False):  # the two terms nearly cancel
        return softplus(logits).sum(1) - x @ logits.T


def gaussian_nll(mean: Tensor, x: Tensor, log_sigma: Tensor) -> Tensor:
    """−log N(x; mean, σ²I) of images (N, ...); `log_sigma`, of shape (), is shared by all pixels.

    Kingma & Welling (2014), equation 12.
    """
    squared_error = (x.float() - mean.float()).square().flatten(1).sum(1)
    log_sigma = log_sigma.float()
    normalizer = x[0].numel() * (log_sigma + 0.5 * math.log(2 * math.pi))
    return 0.5 * torch.exp(-2 * log_sigma) * squared_error + normalizer


def discretized_logistic_nll(mean: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
    """−log of the logistic's mass in the bins of images (N, ...) of 256 levels; `log_scale` broadcasts with them.

    Kingma et al. (2016), section 5.2.
    """
    return -logistic_log_mass(mean.float(), x.float(), log_scale.float()).flatten(1).sum(1)


def logistic_log_mass(mean: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
    """log of the logistic distribution's mass in the bin of width 1/255 around each x in [0, 1], elementwise.

    The bins of 0 and 1 extend to infinity, so the masses of the 256 values sum to 1. With a > b the ends of a bin in
    units of the scale, the mass is σ(a) − σ(b) = σ(a)·σ(−b)·(1 − e^(b−a)), which avoids cancellation.
    """
    half, inverse = 0.5 / 255, torch.exp(-log_scale)
    centered = (x - mean) * inverse
    above, below = logsigmoid(centered + half * inverse), logsigmoid(half * inverse - centered)
    width = torch.log(-torch.expm1(-2 * half * inverse))
    return torch.where(x < half, above, torch.where(x > 1 - half, below, above + below + width))


def binarize(image: Tensor) -> Tensor:
    """Random black and white pixels, 0 or 1; the gray level in [0, 1] is the probability of 1."""
    return rng.uniform(*image.shape, like=image).lt_(image)


class OutputDistribution(nn.Module):
    """p(x|z): given z, pixels are independent with mean sigmoid(logits), and all have the same scale.

    `sigma` is that scale in units of the pixel range [0, 1]: the standard deviation of a Gaussian, the scale s of a
    logistic distribution. A Bernoulli distribution has none. For points of any range, the mean is the network's output.
    """

    log_sigma: Tensor

    def __init__(self, likelihood: Likelihood = "bernoulli", sigma: Sigma = "learned", of_points: bool = False) -> None:
        super().__init__()
        self.likelihood, self.of_points = likelihood, of_points
        if likelihood == "bernoulli":
            return
        if sigma == "learned":  # a Gaussian's optimum is a pixel's root mean squared error (Rybkin et al., sec. 3)
            start = 0.0 if likelihood == "gaussian" else math.log(0.1)
            self.log_sigma = nn.Parameter(torch.full((), start))
        else:
            self.register_buffer("log_sigma", torch.tensor(math.log(float(sigma))))

    def nll(self, logits: Tensor, image: Tensor) -> Tensor:
        """−log p(x|z) of each image, (N,), in nats summed over pixels (for a Gaussian, of the density)."""
        if self.likelihood == "bernoulli":
            return bernoulli_nll(logits, image)
        if self.likelihood == "gaussian":
            return gaussian_nll(self.mean(logits), image, self.log_sigma)
        return discretized_logistic_nll(self.mean(logits), image, self.log_sigma)

    def mean(self, logits: Tensor) -> Tensor:
        """E[x|z], in [0, 1] unless it is a point."""
        return logits.float() if self.of_points else logits.float().sigmoid()

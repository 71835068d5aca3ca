"""Negative log-likelihoods of images: (N,) in nats, summed over pixels, computed in float32."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class _BernoulliNLL(torch.autograd.Function):
    """softplus(l) − l·x, summed over pixels, whose gradient is σ(l) − x.

    softplus(l) = max(l, 0) − log σ(|l|) serves any l: σ(|l|) lies in [½, 1], so that its logarithm neither overflows
    nor cancels. torch's binary_cross_entropy_with_logits takes log1p of each pixel, which is slow on some CPUs; here
    up to 16 pixels share a logarithm, that of their product, which is at least 2⁻¹⁶.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        probability = logits.sigmoid()
        ctx.save_for_backward(logits, x, probability)
        # max(l, 0) − l·x is exactly 0 for a sure and right logit: the small rest is not rounded away
        linear = logits.clamp(min=0).addcmul_(logits, x, value=-1).flatten(1).sum(1)
        opposite = 1 - probability
        sure = torch.maximum(probability, opposite, out=opposite).flatten(1)  # σ(|l|)
        together = math.gcd(sure.shape[1], 16)
        return linear - sure.unflatten(1, (together, -1)).prod(1).log_().sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x, probability = ctx.saved_tensors
        grad = grad.view(-1, *[1] * (logits.dim() - 1))
        to_x = -logits * grad if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, to_x
        if torch.is_grad_enabled():  # a double backward asks how this gradient depends on the logits
            return (logits.sigmoid() - x) * grad, to_x
        return (probability - x).mul_(grad), to_x


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """−log Bernoulli(x; sigmoid(logits)) of images (N, ...); x between 0 and 1 gives the cross entropy.

    Kingma & Welling (2014), equation 11.
    """
    return _BernoulliNLL.apply(logits.float(), x.float())


def gaussian_nll(mean: Tensor, x: Tensor, log_sigma: Tensor) -> Tensor:
    """−log N(x; mean, σ²I) of images (N, ...); `log_sigma`, of shape (), holds for all pixels.

    Kingma & Welling (2014), equation 12.
    """
    squared_error = (x.float() - mean.float()).square().flatten(1).sum(1)
    log_sigma = log_sigma.float()
    normalizer = x[0].numel() * (log_sigma + 0.5 * math.log(2 * math.pi))
    return 0.5 * torch.exp(-2 * log_sigma) * squared_error + normalizer


def discretized_logistic_nll(mean: Tensor, x: Tensor, log_scale: Tensor) -> Tensor:
    """−log of the mass that a logistic law gives to the 1/255 wide bin around each pixel of images (N, ...).

    The bins of 0 and 1 reach to infinity, so that the 256 values have mass 1. `log_scale` is each pixel's, of any shape
    that broadcasts with the images. Kingma et al. (2016), section 5.2. With a > b the bin's ends in units of the scale,
    σ(a) − σ(b) = σ(a)·σ(−b)·(1 − e^(b−a)), in which nothing cancels.
    """
    x, half = x.float(), 0.5 / 255
    inverse = torch.exp(-log_scale.float())
    centered = (x - mean.float()) * inverse
    above, below = logsigmoid(centered + half * inverse), logsigmoid(half * inverse - centered)
    width = torch.log(-torch.expm1(-2 * half * inverse))
    inside = above + below + width
    log_mass = torch.where(x < half, above, torch.where(x > 1 - half, below, inside))
    return -log_mass.flatten(1).sum(1)

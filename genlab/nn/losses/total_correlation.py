"""The total correlation of a batch's codes: how far their distribution is from a product of its marginals, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def total_correlation(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z) ‖ Π_d q(z_d)) in nats, where q(z) is the mean of the posteriors N(μ, σ²), each (M, D), of a batch.

    Its expectation is estimated with the samples z (N, D), one from each of N posteriors. Chen et al. 2018
    (arXiv:1802.04942), eq. 4, estimate q(z) as 1/(NM) Σ_j q(z|x_j) for N training images; their factor 1/N adds a
    constant to the estimate and nothing to its gradient, and is left out. A few images leave gaps in q(z), which count
    as correlation: the value falls with the batch size M, and cannot exceed (D − 1) log M.
    """
    deviation = (z[:, None] - mean) * torch.exp(-0.5 * log_variance)  # of sample i from posterior j: (N, M, D)
    log_q = -0.5 * (deviation.square() + log_variance + math.log(2 * math.pi))  # log q(z_i|x_j) by dimension
    joint, marginals = torch.logsumexp(log_q.sum(2), 1), torch.logsumexp(log_q, 1).sum(1)
    return (joint - marginals).mean() + (z.shape[1] - 1) * math.log(len(mean))

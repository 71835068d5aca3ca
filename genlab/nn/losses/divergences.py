"""Divergences between distributions, in nats, one number an image."""

from __future__ import annotations

from torch import Tensor


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)) of codes (N, D): (N,) in nats, float32. Kingma & Welling (2014), appendix B."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * ((log_variance.exp() - log_variance).addcmul(mean, mean).sum(1) - mean.shape[1])


def kl_of_dimensions(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The same for each latent dimension: (N, D)."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * ((log_variance.exp() - log_variance).addcmul(mean, mean) - 1)

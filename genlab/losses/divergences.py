"""Divergences between distributions, in nats, summed over latents, one number an image."""

from __future__ import annotations

from torch import Tensor


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)) of codes (N, D): (N,) in nats, float32. Kingma & Welling (2014), appendix B."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)

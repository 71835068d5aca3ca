"""How training draws the time of each example."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from genlab.core import rng

TimeDistribution = Literal["uniform", "logit_normal"]


def sample_times(n: int, distribution: TimeDistribution, like: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """n times in [0, 1), (n,): uniform, or the sigmoid of N(mean, std²), which prefers times in the middle.

    Esser et al., Scaling Rectified Flow Transformers (Stable Diffusion 3), ICML 2024 (arXiv:2403.03206), equation 19.
    """
    if distribution == "uniform":
        return rng.uniform(n, like=like)
    return (mean + std * rng.normal(n, like=like)).sigmoid()

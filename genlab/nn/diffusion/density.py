"""The log density of samples of an ODE, by the divergence of its velocity.

Chen, Rubanova, Bettencourt & Duvenaud, Neural Ordinary Differential Equations, NeurIPS 2018 (arXiv:1806.07366), section
4. Estimate of the divergence: Grathwohl et al., FFJORD, ICLR 2019 (arXiv:1810.01367), section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genlab.core import rng
from genlab.nn.diffusion.derivatives import jvp
from genlab.nn.diffusion.solvers import SolverName, Velocity, evenly, last, solve


def log_density(velocity: Velocity, x: Tensor, steps: int, exact: bool, solver: SolverName = "rk4") -> Tensor:
    """log p₁(x), (N,) in nats, of dx/dt = v(x, t) with x ~ N(0, I) at t = 0: log p₀(x₀) − ∫ div v dt.

    `exact` computes the divergence from one derivative for each of x's dimensions; otherwise it is estimated without
    bias from one random direction for each example.
    """
    dimensions = x[0].numel()
    if exact:
        directions = [basis.expand_as(x) for basis in torch.eye(dimensions, device=x.device).reshape(-1, *x.shape[1:])]
    else:
        directions = [rng.normal(*x.shape, like=x).sign()]

    def joint(state: Tensor, t: float) -> Tensor:
        """The derivatives of x and of −log p, side by side (N, D + 1)."""
        v, divergence = with_divergence(lambda x: velocity(x, t), state[:, :-1].reshape(x.shape), directions)
        return torch.cat([v.flatten(1), divergence[:, None]], 1)

    start = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], 1)
    end = last(solve(joint, start, evenly(1, 0, steps), solver))
    log_normal = -0.5 * (end[:, :-1].square() + math.log(2 * math.pi)).sum(1)
    return log_normal + end[:, -1]


def with_divergence(function: Callable[[Tensor], Tensor], x: Tensor, directions: list[Tensor]) -> tuple[Tensor, Tensor]:
    """f(x) and Σ dᵀ (∂f/∂x) d over the directions d, (N,): the divergence if they are a basis; or its estimate."""
    total = x.new_zeros(len(x))
    for direction in directions:
        value, slope = jvp(function, (x,), (direction,))
        total = total + (direction * slope).flatten(1).sum(1)
    return value, total

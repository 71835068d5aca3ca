"""Distances between two sets of features: between the Gaussians fitted to them, and by a kernel."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D), float64."""
    features = features.double()
    mean = features.mean(0)
    centered = features - mean
    return mean, centered.T @ centered / (len(features) - 1)


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians, |μ − μ'|² + tr(Σ + Σ' − 2 (Σ Σ')^½).

    Dowson & Landau, The Fréchet distance between multivariate normal distributions, 1982. With Σ = L Lᵀ, Σ Σ' has the
    eigenvalues of Lᵀ Σ' L, which is symmetric and positive semidefinite. So singular covariances are allowed, for which
    a general matrix square root fails.
    """
    covariance, other_covariance = covariance.double(), other_covariance.double()
    root = _factor(covariance)
    shared = torch.linalg.eigvalsh(root.T @ other_covariance @ root).clamp(min=0).sqrt().sum()
    apart = (mean.double() - other_mean.double()).square().sum()
    return float(apart + covariance.trace() + other_covariance.trace() - 2 * shared)


def _factor(covariance: Tensor) -> Tensor:
    """L (D, D) with L Lᵀ = `covariance`: by Cholesky, or by eigenvectors (nine times the work) if it is singular."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return factor
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()


def fid(features: Tensor, others: Tensor) -> float:
    """The Fréchet distance of the Gaussians fitted to two sets of features (N, D), (M, D)."""
    return frechet_distance(*moments(features), *moments(others))


def mmd(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate of MMD² of x (N, D), y (M, D), by the kernel (x·y / D + 1)³; it may fall below 0.

    Bińkowski, Sutherland, Arbel & Gretton, Demystifying MMD GANs, ICLR 2018 (arXiv:1801.01401), equation 4.
    """
    x, y = x.double(), y.double()
    n, m, d = len(x), len(y), x.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / d + 1) ** 3

    of_x, of_y = kernel(x, x), kernel(y, y)
    within = (of_x.sum() - of_x.trace()) / (n * (n - 1)) + (of_y.sum() - of_y.trace()) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def kid(features: Tensor, others: Tensor, subsets: int, size: int, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of `mmd` over `subsets` pairs of random subsets of `size` each."""
    values = torch.stack(list(_subset_values(features, others, subsets, size, seed)))
    return float(values.mean()), float(values.std(correction=0))


def _subset_values(x: Tensor, y: Tensor, subsets: int, size: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(subsets):
        one, other = (torch.randperm(len(each), generator=generator)[:size] for each in (x, y))
        yield mmd(x[one], y[other])

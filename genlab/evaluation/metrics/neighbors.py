"""Metrics from nearest neighbors, by distances between features.

Precision and recall: Kynkäänniemi et al., Improved Precision and Recall Metric, NeurIPS 2019 (arXiv:1904.06991).
Density and coverage: Naeem et al., Reliable Fidelity and Diversity Metrics, ICML 2020 (arXiv:2002.09797).
C_T: Meehan, Chaudhuri & Dasgupta, A Non-Parametric Test to Detect Data-Copying, AISTATS 2020 (arXiv:2004.05675).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ELEMENTS = 2**24  # of a table of distances held at once


def _rows(of: Tensor, among: Tensor) -> tuple[Tensor, ...]:
    """`of` in parts whose distances to all of `among` fit in memory."""
    return of.split(max(1, ELEMENTS // len(among)))


def radii(features: Tensor, k: int) -> Tensor:
    """The distance (N,) of each of N features to its k-th nearest among the others."""
    center = features.mean(0)  # distances are differences of squares: a far-off origin would cost digits
    moved = features - center
    nearest = [torch.cdist(rows, moved).topk(k + 1, largest=False).values[:, -1] for rows in _rows(moved, moved)]
    return torch.cat(nearest)


def prdc(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage of fakes (M, D) against reals (N, D); N, M > k.

    precision: the fraction of fakes within the ball of a real image, whose radius is the distance to its k-th neighbor.
    recall: the fraction of reals within the ball of a fake. density: the mean number of balls of reals that a fake lies
    in, over k. coverage: the fraction of reals whose ball holds a fake.
    """
    real_radii, fake_radii = radii(real, k), radii(fake, k)
    center = real.mean(0)
    moved = fake - center
    in_a_ball = torch.zeros(len(fake), dtype=torch.bool)
    balls, recalled, covered = 0, 0, 0
    for rows, radius in zip(_rows(real - center, fake), _rows(real_radii, fake), strict=True):
        distance = torch.cdist(rows, moved)
        within = distance < radius[:, None]
        in_a_ball |= within.any(0)
        balls += int(within.sum())
        covered += int(within.any(1).sum())
        recalled += int((distance < fake_radii).any(1).sum())
    n, m = len(real), len(fake)
    return {
        "precision": float(in_a_ball.double().mean()),
        "recall": recalled / n,
        "density": balls / (k * m),
        "coverage": covered / n,
    }


def nearest(features: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of `features` (N, D), the distance (N,) to the nearest of `among` (M, D), and which one that is."""
    center = among.mean(0)
    parts = [torch.cdist(rows - center, among - center).min(1) for rows in _rows(features, among)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def mann_whitney(smaller: Tensor, larger: Tensor) -> float:
    """The z-score of how often a number of `smaller` lies below one of `larger`; 0 for equal distributions.

    Positive if numbers of `smaller` are the smaller ones; beyond 3 is hardly chance. Ties count half.
    """
    n, m = len(smaller), len(larger)
    order = larger.sort().values
    above = m - torch.searchsorted(order, smaller, right=True)
    ties = torch.searchsorted(order, smaller, right=True) - torch.searchsorted(order, smaller)
    u = float(above.sum() + 0.5 * ties.sum())
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)

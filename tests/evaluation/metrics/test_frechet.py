"""Distances between clouds, against scipy, closed forms and sums over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from genlab.evaluation.metrics.frechet import fid, frechet_distance, kid, mmd, moments


def cloud(n: int, d: int, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator)
    return scale * torch.randn(n, d, generator=generator) @ mixing + torch.randn(d, generator=generator)


def by_scipy(x: Tensor, y: Tensor) -> float:
    """The formula as it stands, with a general matrix square root."""
    (m, s), (n, t) = ((each.double().mean(0).numpy(), np.cov(each.double().numpy().T)) for each in (x, y))
    return float(((m - n) ** 2).sum() + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real))


@pytest.mark.parametrize("d", [1, 5, 40])
def test_fid_is_the_formula_with_scipys_matrix_root(d: int) -> None:
    x, y = cloud(300, d, 0), cloud(200, d, 1)
    if d == 1:  # np.cov of one variable is no matrix
        expected = float((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2)
        assert fid(x, y) == pytest.approx(expected, rel=1e-5)
        return
    assert fid(x, y) == pytest.approx(by_scipy(x, y), rel=1e-6)


def test_fid_of_diagonal_gaussians_is_the_closed_form() -> None:
    mean, other_mean = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 2.0, 5.0])
    deviation, other = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 2.0, 1.0])  # one is singular
    expected = (mean - other_mean).square().sum() + (deviation - other).square().sum()
    found = frechet_distance(mean, deviation.square().diag(), other_mean, other.square().diag())
    assert found == pytest.approx(expected.item(), abs=1e-9)


def test_fid_of_a_cloud_and_itself_is_zero_even_where_the_covariance_is_singular() -> None:
    x = cloud(20, 40, 3)
    assert fid(x, x) == pytest.approx(0, abs=1e-6 * float(moments(x)[1].trace()))
    assert fid(x, x + 2) == pytest.approx(4 * 40, rel=1e-5)


def test_mmd_is_the_mean_over_pairs_of_different_points() -> None:
    x, y = cloud(6, 3, 0), cloud(5, 3, 1)

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a.double() @ b.double()) / 3 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i in range(6) for j in range(6) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert float(mmd(x, y)) == pytest.approx(within_x + within_y - 2 * across, rel=1e-9)


def test_kid_is_unbiased_near_zero_for_one_law_and_large_for_two() -> None:
    x, y, z = torch.randn(3, 800, 8, generator=torch.Generator().manual_seed(0))
    mean, deviation = kid(x, y, subsets=50, size=200)
    assert abs(mean) < deviation
    assert kid(x, z + 1, subsets=50, size=200)[0] > 10 * deviation
    assert kid(x, y, subsets=50, size=200) == (mean, deviation)  # the subsets are always the same

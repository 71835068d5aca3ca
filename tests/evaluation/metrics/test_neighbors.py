"""Precision, recall, density and coverage against their formulas written out; copies found by the test for copying."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from genlab.evaluation.metrics import neighbors
from genlab.evaluation.metrics.neighbors import mann_whitney, nearest, prdc, radii


def clouds(n: int, m: int, d: int = 4, shift: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), 0.8 * torch.randn(m, d, generator=generator) + shift


def written_out(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Equations 3 and 4 of Naeem et al., and equation 1 of Kynkäänniemi et al., one pair at a time."""

    def radius(points: np.ndarray, i: int) -> float:
        return sorted(float(np.linalg.norm(points[i] - points[j])) for j in range(len(points)) if j != i)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    distance = [[float(np.linalg.norm(x - y)) for y in fake] for x in real]
    rows, columns = range(len(real)), range(len(fake))
    return {
        "precision": np.mean([any(distance[i][j] < real_radii[i] for i in rows) for j in columns]),
        "recall": np.mean([any(distance[i][j] < fake_radii[j] for j in columns) for i in rows]),
        "density": np.mean([sum(distance[i][j] < real_radii[i] for i in rows) / k for j in columns]),
        "coverage": np.mean([any(distance[i][j] < real_radii[i] for j in columns) for i in rows]),
    }


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 5), (30, 55, 3), (55, 20, 1)])
def test_prdc_is_the_papers_formulas(n: int, m: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "ELEMENTS", 600)  # several blocks, the last smaller
    real, fake = clouds(n, m)
    assert prdc(real, fake, k) == pytest.approx(written_out(real.numpy(), fake.numpy(), k))


def test_a_collapsed_generator_keeps_precision_and_loses_recall_and_coverage() -> None:
    real, _ = clouds(400, 1)
    center = real.square().sum(1).argmin()
    fake = real[center] + 1e-3 * torch.randn(400, 4, generator=torch.Generator().manual_seed(1))
    found = prdc(real, fake, 5)
    assert found["precision"] == 1
    assert found["recall"] < 0.01
    assert found["coverage"] < 0.1


def test_radii_leave_the_point_itself_out_far_from_the_origin_too() -> None:
    points = torch.tensor([[0.0], [1.0], [3.0], [7.0]]) + 1000
    assert radii(points, 1).tolist() == pytest.approx([1, 1, 2, 4])
    assert radii(points, 2).tolist() == pytest.approx([3, 2, 3, 6])


def test_nearest_gives_distance_and_place() -> None:
    distance, place = nearest(torch.tensor([[0.0], [6.0]]), torch.tensor([[5.0], [1.0]]))
    assert distance.tolist() == pytest.approx([1, 1])
    assert place.tolist() == [1, 0]


def test_mann_whitney_is_scipys_statistic() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 50, (80,), generator=generator).double(), torch.randint(5, 60, (60,), generator=generator)
    u = scipy.stats.mannwhitneyu(y.numpy(), x.numpy()).statistic  # how often y is the larger, ties half
    assert mann_whitney(x, y.double()) == pytest.approx((u - 80 * 60 / 2) / np.sqrt(80 * 60 * 141 / 12))
    assert mann_whitney(x, x) == 0

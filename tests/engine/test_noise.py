"""Noise is a function of seed and step, and the ranks of a batch together draw what one process draws."""

from __future__ import annotations

import pytest
import torch

from genlab import noise


@pytest.fixture(autouse=True)
def alone() -> None:
    yield
    noise.share(0, 1)


@pytest.mark.parametrize("draw", [noise.normal, noise.uniform])
def test_ranks_hold_consecutive_rows_of_one_draw(draw) -> None:
    like = torch.zeros(())
    noise.seed(3, 7)
    whole = draw(24, 5, like=like)
    parts = []
    for rank in range(3):
        noise.share(rank, 3)
        noise.seed(3, 7)
        parts.append(draw(8, 5, like=like))
    assert torch.equal(torch.cat(parts), whole)


def test_seed_depends_on_every_number() -> None:
    draws = []
    for numbers in [(0, 0), (0, 1), (1, 0), (0, 1, 0), (0, 1, 1)]:
        noise.seed(*numbers)
        draws.append(torch.rand(4))
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_neighbouring_steps_are_uncorrelated() -> None:
    rows = []
    for step in range(200):
        noise.seed(0, step)
        rows.append(torch.randn(50))
    correlations = torch.corrcoef(torch.stack(rows)).fill_diagonal_(0)
    assert correlations.abs().max() < 0.75  # 19,900 pairs of 50 numbers: independent ones stay below about 0.6
    assert abs(float(correlations.mean())) < 0.01

"""Noise is a function of seed and step, and the ranks of a batch together draw what one process draws."""

from __future__ import annotations

import pytest
import torch

from genlab.core import rng


@pytest.fixture(autouse=True)
def alone() -> None:
    yield
    rng.set_rank(0, 1)


@pytest.mark.parametrize("draw", [rng.normal, rng.uniform])
def test_ranks_hold_consecutive_rows_of_one_draw(draw) -> None:
    like = torch.zeros(())
    rng.seed(3, 7)
    whole = draw(24, 5, like=like)
    parts = []
    for rank in range(3):
        rng.set_rank(rank, 3)
        rng.seed(3, 7)
        parts.append(draw(8, 5, like=like))
    assert torch.equal(torch.cat(parts), whole)


def test_seed_depends_on_every_number() -> None:
    draws = []
    for numbers in [(0, 0), (0, 1), (1, 0), (0, 1, 0), (0, 1, 1)]:
        rng.seed(*numbers)
        draws.append(torch.rand(4))
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_neighboring_steps_are_uncorrelated() -> None:
    rows = []
    for step in range(200):
        rng.seed(0, step)
        rows.append(torch.randn(50))
    correlations = torch.corrcoef(torch.stack(rows)).fill_diagonal_(0)
    assert correlations.abs().max() < 0.75  # 19,900 pairs of 50 numbers: independent ones stay below about 0.6
    assert abs(float(correlations.mean())) < 0.01


def test_what_a_library_draws_differs_by_rank() -> None:
    """nn.Dropout knows nothing of ranks: rank 0 has the seed's own stream, others their own, and common draws stay."""
    like, dropout = torch.zeros(()), torch.nn.Dropout(0.5)
    rng.seed(3, 7)
    alone = dropout(torch.ones(64))
    masks, common = [], []
    for rank in range(3):
        rng.set_rank(rank, 3)
        rng.seed(3, 7)
        masks.append(dropout(torch.ones(64)))
        with rng.replicated():
            common.append(rng.normal(4, 5, like=like))
    assert torch.equal(masks[0], alone)
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])
    assert torch.equal(common[0], common[1])
    assert torch.equal(common[1], common[2])


def test_a_branch_depends_on_its_index_and_not_on_what_was_drawn_before() -> None:
    like = torch.zeros(())
    draws = {}
    for order in ([0, 1], [1, 0]):
        rng.seed(3, 7)
        for index in order:
            rng.fold_in(index)
            draws.setdefault(index, []).append(rng.normal(4, like=like))
    assert all(torch.equal(*pair) for pair in draws.values())
    assert not torch.equal(draws[0][0], draws[1][0])

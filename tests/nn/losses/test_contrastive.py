"""NT-Xent against a loop, VICReg's terms by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from genlab.nn.losses.contrastive import nt_xent, vicreg
from tests.support.gloo import among


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_nt_xent_by_a_loop() -> None:
    a, b = random(4, 3), random(4, 3, seed=1)
    losses, found = nt_xent(a, b, 0.3, training=False)
    views = torch.cat([a, b])
    for i in range(8):
        partner = (i + 4) % 8
        similarity = [float(torch.cosine_similarity(views[i], views[k], dim=0)) for k in range(8)]
        others = [k for k in range(8) if k != i]
        total = sum(math.exp(similarity[k] / 0.3) for k in others)
        assert losses[i].item() == pytest.approx(math.log(total) - similarity[partner] / 0.3, abs=1e-5)
        assert bool(found[i]) == (max(others, key=lambda k: similarity[k]) == partner)


def test_identical_orthogonal_pairs_have_the_smallest_loss_and_one_embedding_for_all_the_guess() -> None:
    losses, found = nt_xent(torch.eye(4), torch.eye(4), 0.5, training=False)
    assert torch.allclose(losses, torch.full((8,), math.log(math.exp(2) + 6) - 2))
    assert found.all()
    same, _ = nt_xent(torch.ones(4, 3), torch.ones(4, 3), 0.5, training=False)
    assert torch.allclose(same, torch.full((8,), math.log(7)))


def test_the_terms_of_vicreg_by_hand() -> None:
    a = torch.tensor([[0.0, 0], [2, 2], [1, 1], [1, 1]])  # variances 2/3, covariance 2/3
    b = torch.tensor([[0.0, 1], [2, 1], [1, 0], [1, 2]])  # variances 2/3, covariance 0
    terms = vicreg(a, b, training=False, epsilon=0.0)
    assert terms["invariance"].item() == pytest.approx((1 + 1 + 1 + 1) / 8)
    assert terms["variance"].item() == pytest.approx(1 - math.sqrt(2 / 3))
    assert terms["covariance"].item() == pytest.approx(2 * (2 / 3) ** 2 / 2)
    wide = vicreg(10 * b, 10 * b, training=False)
    assert wide["variance"].item() == wide["invariance"].item() == 0


@pytest.mark.parametrize("loss", ["nt_xent", "vicreg"])
def test_two_ranks_have_the_gradient_of_one(loss: str, tmp_path: Path) -> None:
    """The gradient of the mean over ranks, for the rows of each."""
    a, b = random(6, 3), random(6, 3, seed=1)

    def value(a: Tensor, b: Tensor) -> Tensor:
        if loss == "nt_xent":
            return nt_xent(a, b, 0.5, training=True)[0].mean()
        return torch.stack(list(vicreg(a, b, training=True).values())).sum()

    def work(runtime: object = None) -> Tensor:
        rank = dist.get_rank()
        rows = [each[3 * rank : 3 * rank + 3].clone().requires_grad_() for each in (a, b)]
        value(*rows).backward()
        return torch.cat([each.grad for each in rows if each.grad is not None]) / 2  # the engine averages over ranks

    whole = [each.clone().requires_grad_() for each in (a, b)]
    value(*whole).backward()
    first, second = among(2, tmp_path, work)
    for i, each in enumerate(whole):
        halves = torch.cat([first[3 * i : 3 * i + 3], second[3 * i : 3 * i + 3]])
        assert each.grad is not None
        assert torch.allclose(halves, each.grad, atol=1e-6)

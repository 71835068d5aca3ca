"""The likelihood of RBMs, from a split to its numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.evaluation.evaluators.likelihood.ais import AnnealedLikelihood
from genlab.models.classical.rbm import RBM
from tests.support.evaluated import MemorySplit, Shrinker


class Siblings(MemorySplit):
    """A split whose train split is the same images."""

    def sibling(self, name: str) -> MemorySplit:
        assert name == "train"
        return MemorySplit(self.columns["image"])


def rbm(scale: float, hidden: int = 4) -> RBM:
    torch.manual_seed(0)
    model = RBM((1, 3, 4), hidden=hidden, binarize="threshold")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return model.eval()


def measured(model: RBM, images: Tensor, chains: int = 200, temperatures: int = 300) -> dict[str, float]:
    rng.seed(1)
    with torch.no_grad():
        values = AnnealedLikelihood(chains, temperatures, batch_size=3).run(model, Siblings(images))  # type: ignore[arg-type]
        return {name: float(value) for name, value in values}  # type: ignore[arg-type]


def test_the_annealed_likelihood_is_the_enumerated_one() -> None:
    model, images = rbm(0.7), torch.rand(10, 1, 3, 4)
    values = measured(model, images)
    with torch.no_grad():
        states = torch.tensor([[i >> bit & 1 for bit in range(12)] for i in range(2**12)]).float()
        log_z = (-model.energy.free_energy(states)).logsumexp(0)
        nll = (model.score(images) + log_z).mean().item()
    assert values["nll_exact"] == pytest.approx(nll, abs=1e-4)
    assert values["nll"] == pytest.approx(nll, abs=0.1)
    assert values["nll_low"] <= nll <= values["nll_high"]
    assert values["log_z_error"] == pytest.approx(values["nll"] - values["nll_exact"], abs=1e-6)


def test_an_interval_without_a_lower_end_is_left_out() -> None:
    values = measured(rbm(4.0, hidden=30), torch.rand(5, 1, 3, 4), chains=20, temperatures=1)
    assert "nll_low" not in values
    assert all(math.isfinite(value) for value in values.values())


def test_it_applies_where_only_a_constant_is_missing() -> None:
    assert AnnealedLikelihood().applies(rbm(1.0))
    assert not AnnealedLikelihood().applies(Shrinker())

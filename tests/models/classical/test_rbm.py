"""The RBM and the DBN: likelihoods, chains, what they are shown, stacks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from genlab.core import rng
from genlab.evaluation.evaluators.likelihood.ais import AnnealedLikelihood
from genlab.models.classical.dbn import DBN
from genlab.models.classical.rbm import RBM
from genlab.nn.layers.boltzmann import FIRST_STEP, BoltzmannLayer
from tests.support.evaluated import MemorySplit
from tests.support.models import states


def rbm(**changes: Any) -> RBM:
    torch.manual_seed(0)
    return RBM((1, 3, 3), **{"hidden": 4, "chains": None, "binarize": "none", **changes})


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_likelihoods_sum_to_one(visible: Any) -> None:
    """Over all binary images; over a fine grid of the values of two Gaussian pixels."""
    torch.manual_seed(0)
    if visible == "binary":
        model, cell = rbm(), 1.0
        images = states(9).unflatten(1, (1, 3, 3))
    else:
        model, cell = RBM((1, 1, 2), hidden=3, visible="gaussian", sigma=0.3), (8 / 400) ** 2
        axis = torch.linspace(-4, 4, 401)
        images = torch.cartesian_prod(axis, axis).unflatten(1, (1, 1, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        z = model.exact_log_partition()
        assert z is not None
        total = (model.unnormalized(images) - z).exp().sum() * cell
    assert float(total) == pytest.approx(1, abs=1e-3)


def test_pseudo_likelihood_is_the_mean_over_pixels() -> None:
    model, v = rbm(), torch.rand(1, 9).round()
    with torch.no_grad():
        model.layer(0).weight.add_(torch.randn_like(model.layer(0).weight))
        f = model.energy.free_energy
        flips = [v.clone().index_fill_(1, torch.tensor([i]), 1 - float(v[0, i])) for i in range(9)]
        exact = sum(torch.nn.functional.softplus(f(v) - f(flip)).item() for flip in flips)
        rng.seed(0)
        many = v.expand(20_000, -1)
        estimates = model.pseudo_nll(many, model.energy.hidden_input(many), f(many))
        assert estimates.mean().item() == pytest.approx(exact, rel=0.03)


def test_learning_raises_the_exact_likelihood() -> None:
    """Two stripe patterns, an RBM small enough for the truth: the best possible is ln 2 nats."""
    data = torch.stack([torch.eye(3)[[0, 0, 0]], torch.eye(3)[[2, 2, 2]]])[:, None]
    model = rbm(hidden=6, chains=50, cd_k=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(600):
        rng.seed(step)
        model.loss(data)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        z = model.exact_log_partition()
        assert z is not None
        nll = z - float(model.unnormalized(data).mean())
    assert math.log(2) <= nll < 2.2  # at the start 9·ln 2 = 6.2


def test_visible_biases_start_at_the_mean_of_the_data() -> None:
    """And only there: without hidden units the model draws each pixel as often as the data have it."""
    model, images = rbm(), torch.rand(50, 1, 3, 3)
    model.init_bias(images)
    torch.testing.assert_close(model.layer(0).visible_bias.sigmoid(), images.mean(0).flatten())
    gaussian = rbm(visible="gaussian", sigma=0.5)
    gaussian.init_bias(images)
    torch.testing.assert_close(gaussian.layer(0).visible_bias, images.mean(0).flatten() / 0.5)
    assert model.phases()[0].window == FIRST_STEP


def test_chains_move_in_training_only_and_are_part_of_the_state() -> None:
    layer = BoltzmannLayer(6, 3, chains=5)
    before = layer.state_dict()["chains"].clone()
    v = torch.rand(4, 6).round()
    rng.seed(0)
    layer.eval().loss(v, layer.energy.hidden_input(v), 1)
    assert torch.equal(layer.chains, before)  # type: ignore[arg-type]
    layer.train().loss(v, layer.energy.hidden_input(v), 1)
    assert not torch.equal(layer.chains, before)  # type: ignore[arg-type]


def test_chains_are_alike_on_every_rank() -> None:
    moved = []
    try:
        for rank in (0, 1):
            rng.set_rank(rank, 2)
            torch.manual_seed(0)
            layer = BoltzmannLayer(6, 3, chains=5)
            rng.seed(7)
            v = torch.rand(4, 6).round()
            layer.loss(v, layer.energy.hidden_input(v), 2)
            moved.append(layer.chains)
    finally:
        rng.set_rank(0, 1)
    assert torch.equal(moved[0], moved[1])


@pytest.mark.parametrize(("binarize", "values"), [("sampled", {0.0, 1.0}), ("threshold", {0.0, 1.0}), ("none", {0.25})])
def test_gray_becomes_what_is_asked_for(binarize: Any, values: set[float]) -> None:
    image = torch.full((2000, 1, 3, 3), 0.25)
    rng.seed(0)
    v = rbm(binarize=binarize).data.units(image, sample=True)
    assert set(v.unique().round(decimals=4).tolist()) <= values
    if binarize == "sampled":
        assert v.mean().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "pixels"),
    [
        ({"binarize": "sampled"}, "binarized at random by their gray value"),
        ({"binarize": "threshold"}, "binarized at 0.5"),
        ({"visible": "gaussian", "sigma": 0.5}, "as they are, with sigma 0.5; log p is a density"),
    ],
)
def test_the_protocol_names_the_evaluated_pixels(changes: dict[str, Any], pixels: str) -> None:
    evaluator, split = AnnealedLikelihood(chains=2, temperatures=3), MemorySplit(torch.rand(4, 1, 3, 3))
    split.sibling = lambda name: split  # type: ignore[attr-defined]
    model = rbm(**changes).requires_grad_(False)
    assert evaluator.applies(model)
    dict(evaluator.run(model, split))  # type: ignore[arg-type]
    assert evaluator.protocol()["pixels"] == pixels
    assert not evaluator.applies(rbm(binarize="none"))  # grays have no probability under binary units


def test_a_stack_learns_one_layer_after_another() -> None:
    torch.manual_seed(0)
    model = DBN((1, 3, 3), hidden=[4, 3], chains=2)
    _, first, second = model.phases()
    assert [first.window, second.window] == [(0.0, 0.5), (0.5, 1.0)]
    rng.seed(0)
    second.objective(torch.rand(6, 1, 3, 3))["loss"].backward()
    assert all(p.grad is None for p in model.layer(0).parameters())
    assert model.layer(0).chains is None
    assert model.layer(1).chains is not None


def test_a_stack_of_one_is_the_rbm_itself() -> None:
    torch.manual_seed(0)
    stack = DBN((1, 3, 3), hidden=[4], chains=None, burn_in=3)
    single = rbm(binarize="sampled", burn_in=3)
    single.layer(0).load_state_dict(stack.layer(0).state_dict())
    image = torch.rand(5, 1, 3, 3)
    torch.testing.assert_close(stack.reconstruct(image), single.reconstruct(image))
    rng.seed(2)
    drawn = stack.sample(4)
    rng.seed(2)
    torch.testing.assert_close(drawn, single.sample(4))

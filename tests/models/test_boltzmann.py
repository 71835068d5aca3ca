"""Boltzmann machines against enumeration of every state, numerical integration and brute force."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab import noise
from genlab.evaluators.ais import AnnealedLikelihood
from genlab.losses.boltzmann import Machine, contrast, contrastive_divergence, gibbs
from genlab.losses.partition import annealed, enumerable, exact_log_partition, ladder
from genlab.models.dbn import DBN
from genlab.models.rbm import RBM
from genlab.networks.boltzmann import FIRST_STEP, BoltzmannLayer
from tests.report.conftest import MemorySplit

D, H = 5, 4


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def machine(inputs: int = D, units: int = H, scale: float = 1.0, seed: int = 0, **laws: Any) -> Machine:
    torch.manual_seed(seed)
    w, b, c = torch.randn(units, inputs), torch.randn(inputs), torch.randn(units)
    return Machine(scale * w, b, c, **laws)


def minus_energy(m: Machine, v: Tensor, h: Tensor) -> Tensor:
    """−E of every pair, (len(v), len(h)), written down from the definition."""
    visible = (
        v @ m.visible_bias if m.visible == "binary" else -0.5 * (v[:, None] - m.visible_bias).square().sum(2)[:, 0]
    )
    hidden = h @ m.hidden_bias if m.hidden == "binary" else -0.5 * (h[:, None] - m.hidden_bias).square().sum(2)[:, 0]
    return visible[:, None] + hidden[None] + v @ m.weight.t() @ h.t()


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_free_energy_is_the_sum_over_hidden_states(visible: Any) -> None:
    m = machine(visible=visible)
    v = states(D) if visible == "binary" else torch.randn(9, D)
    torch.testing.assert_close(m.free_energy(v), -minus_energy(m, v, states(H)).logsumexp(1))


def test_free_energy_of_gaussian_hidden_units_is_the_integral() -> None:
    m = machine(units=1, scale=0.5, hidden="gaussian")
    v, h = states(D), torch.linspace(-30, 30, 20_001)[:, None]
    integral = minus_energy(m, v, h).double().logsumexp(1) + math.log(60 / 20_000)
    torch.testing.assert_close(m.free_energy(v).double(), -integral, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("visible", "hidden"), [("binary", "binary"), ("gaussian", "binary"), ("binary", "gaussian")])
def test_the_gradient_is_the_contrastive_divergence_update(visible: Any, hidden: Any) -> None:
    """⟨hv⟩ over data minus ⟨hv⟩ over fantasies, with E[h|v] for h, and the same for the biases."""
    m = machine(visible=visible, hidden=hidden)
    parameters = [p.requires_grad_() for p in (m.weight, m.visible_bias, m.hidden_bias)]
    v, fantasy = torch.rand(6, D).round(), torch.rand(6, D).round()
    gradients = torch.autograd.grad(contrast(m, v, fantasy), parameters)

    def up(x: Tensor) -> Tensor:
        total = x @ m.weight.t() + m.hidden_bias
        return total.sigmoid() if hidden == "binary" else total

    shift = m.visible_bias if visible == "gaussian" else 0.0
    expected = [
        -(up(v).t() @ v - up(fantasy).t() @ fantasy) / 6,
        -((v - shift).mean(0) - (fantasy - shift).mean(0)),
        # of Gaussian hidden units too: ∂F/∂c = −(E[h|v] − c), and c drops out of the difference
        -(up(v).mean(0) - up(fantasy).mean(0)),
    ]
    for gradient, update in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, update.detach())


def test_the_gradient_with_exact_samples_is_that_of_the_likelihood() -> None:
    """Fantasies weighted by p(v) in place of Gibbs samples give what CD approximates: ∇ of F(v) + exact log Z."""
    m = machine(scale=0.7)
    parameters = [p.requires_grad_() for p in (m.weight, m.visible_bias, m.hidden_bias)]
    data, everything = states(D)[[3, 9, 17]], states(D)
    likelihood = m.free_energy(data).mean() + (-m.free_energy(everything)).logsumexp(0)
    p = (-m.free_energy(everything)).softmax(0).detach()
    surrogate = m.free_energy(data).mean() - (p * m.free_energy(everything)).sum()
    exact, found = torch.autograd.grad(likelihood, parameters), torch.autograd.grad(surrogate, parameters)
    for a, b in zip(exact, found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_gibbs_rounds_leave_the_model_where_it_is(visible: Any) -> None:
    """From anywhere to p(v): the moments of many chains are those of the enumerated law."""
    m = machine(scale=0.5, visible=visible)
    noise.seed(0)
    v = gibbs(m, torch.zeros(40_000, D), 30)
    p = minus_energy(m, states(D), states(H)) if visible == "binary" else None
    if p is not None:
        p = (p - p.logsumexp((0, 1))).exp()
        mean, second = states(D).t() @ p.sum(1), states(D).t() @ (states(D) * p.sum(1)[:, None])
        torch.testing.assert_close(v.mean(0), mean, atol=0.015, rtol=0)
        torch.testing.assert_close(v.t() @ v / len(v), second, atol=0.015, rtol=0)
    else:  # v given h is normal about b + Wᵀh: p(h) ∝ exp(c·h + ½|b + Wᵀh|² − ½|b|²)
        centre = m.visible_bias + states(H) @ m.weight
        q = (states(H) @ m.hidden_bias + 0.5 * centre.square().sum(1)).softmax(0)
        torch.testing.assert_close(v.mean(0), q @ centre, atol=0.04, rtol=0)


def test_contrastive_divergence_draws_by_the_seed_and_takes_no_gradient_through_fantasies() -> None:
    m = machine()
    m.weight.requires_grad_()
    v = torch.rand(8, D).round()
    noise.seed(3)
    loss = contrastive_divergence(m, v, steps=2)
    noise.seed(3)
    fantasy = gibbs(m, v, 2)
    assert not fantasy.requires_grad
    torch.testing.assert_close(loss, contrast(m, v, fantasy))
    noise.seed(3)
    probabilities = gibbs(m, v, 1, mean=True)
    assert ((probabilities > 0) & (probabilities < 1)).all()


# ---------------------------------------------------------------------- the normaliser


@pytest.mark.parametrize(
    ("inputs", "units", "laws"),
    [(5, 4, {}), (4, 6, {}), (5, 3, {"visible": "gaussian"}), (4, 5, {"hidden": "gaussian"})],
    ids=str,
)
def test_exact_log_z_is_the_sum_over_all_states(inputs: int, units: int, laws: dict[str, Any]) -> None:
    m = machine(inputs, units, scale=0.4, **laws)
    if laws.get("visible") == "gaussian":  # ∫ exp(−½|v−b|² + v·Wᵀh) dv, by completing the square
        field = states(units) @ m.weight
        terms = states(units) @ m.hidden_bias + (field @ m.visible_bias) + 0.5 * field.square().sum(1)
        expected = terms.logsumexp(0) + inputs / 2 * math.log(2 * math.pi)
    else:
        expected = (-m.free_energy(states(inputs))).logsumexp(0)
    assert exact_log_partition(m) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@pytest.mark.parametrize(("units", "scale"), [(10, 0.3), (20, 0.15)])
def test_annealing_finds_log_z_within_a_tenth_of_a_nat(units: int, scale: float, visible: Any) -> None:
    m = machine(40, units, scale, visible=visible)
    noise.seed(1)
    found = annealed(m, m.visible_bias * 0.9, chains=300, temperatures=600)
    exact = exact_log_partition(m)
    assert abs(found.value - exact) < 0.1
    assert found.low <= exact <= found.high
    assert 1 < found.chains <= 300


def test_few_temperatures_are_told_by_the_interval() -> None:
    """One jump is plain importance sampling: hardly a chain counts, and the interval is open below."""
    m = machine(60, 15, scale=1.0)
    noise.seed(0)
    rough = annealed(m, torch.zeros(60), chains=50, temperatures=1)
    assert rough.chains < 5
    assert rough.low == -math.inf


def test_the_ladder_is_that_of_salakhutdinov_and_murray() -> None:
    betas = torch.tensor(ladder(14_500), dtype=torch.float64)
    assert (betas[0], betas[-1]) == (0, 1)
    assert betas[500] == pytest.approx(0.5)
    assert betas[4_500] == pytest.approx(0.9)
    assert (betas.diff() > 0).all()


def test_only_a_small_machine_is_enumerated() -> None:
    assert enumerable(machine(30, 6))
    assert enumerable(machine(6, 30))
    assert not enumerable(machine(6, 30, visible="gaussian"))
    with pytest.raises(ValueError, match="enumerated"):
        exact_log_partition(machine(30, 25))


# ---------------------------------------------------------------------- the models


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
        total = (model.unnormalised(images) - z).exp().sum() * cell
    assert float(total) == pytest.approx(1, abs=1e-3)


def test_pseudo_likelihood_is_the_mean_over_pixels() -> None:
    model, v = rbm(), torch.rand(1, 9).round()
    with torch.no_grad():
        model.layer.weight.add_(torch.randn_like(model.layer.weight))
        f = model.layer.machine.free_energy
        flips = [v.clone().index_fill_(1, torch.tensor([i]), 1 - float(v[0, i])) for i in range(9)]
        exact = sum(torch.nn.functional.softplus(f(v) - f(flip)).item() for flip in flips)
        noise.seed(0)
        many = v.expand(20_000, -1)
        assert model.pseudo_nll(many, f(many)).mean().item() == pytest.approx(exact, rel=0.03)


def test_learning_raises_the_exact_likelihood() -> None:
    """Two stripe patterns, a machine small enough for the truth: the best possible is ln 2 nats."""
    data = torch.stack([torch.eye(3)[[0, 0, 0]], torch.eye(3)[[2, 2, 2]]])[:, None]
    model = rbm(hidden=6, chains=50, steps=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(600):
        noise.seed(step)
        model.loss(data)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        z = model.exact_log_partition()
        assert z is not None
        nll = z - float(model.unnormalised(data).mean())
    assert math.log(2) <= nll < 2.2  # at the start 9·ln 2 = 6.2


def test_visible_biases_start_at_the_mean_of_the_data() -> None:
    """And only there: without hidden units the model draws each pixel as often as the data have it."""
    model, images = rbm(), torch.rand(50, 1, 3, 3)
    model.start(images)
    torch.testing.assert_close(model.layer.visible_bias.sigmoid(), images.mean(0).flatten())
    gaussian = rbm(visible="gaussian", sigma=0.5)
    gaussian.start(images)
    torch.testing.assert_close(gaussian.layer.visible_bias, images.mean(0).flatten() / 0.5)
    assert model.phases()[0].window == FIRST_STEP


def test_chains_move_in_training_only_and_are_part_of_the_state() -> None:
    layer = BoltzmannLayer(6, 3, chains=5)
    before = layer.state_dict()["chains"].clone()
    v = torch.rand(4, 6).round()
    noise.seed(0)
    layer.eval().loss(v, 1)
    assert torch.equal(layer.chains, before)  # type: ignore[arg-type]
    layer.train().loss(v, 1)
    assert not torch.equal(layer.chains, before)  # type: ignore[arg-type]


def test_chains_are_alike_on_every_rank() -> None:
    moved = []
    try:
        for rank in (0, 1):
            noise.share(rank, 2)
            torch.manual_seed(0)
            layer = BoltzmannLayer(6, 3, chains=5)
            noise.seed(7)
            layer.loss(torch.rand(4, 6).round(), 2)
            moved.append(layer.chains)
    finally:
        noise.share(0, 1)
    assert torch.equal(moved[0], moved[1])


@pytest.mark.parametrize(("binarize", "values"), [("sampled", {0.0, 1.0}), ("threshold", {0.0, 1.0}), ("none", {0.25})])
def test_grey_becomes_what_is_asked_for(binarize: Any, values: set[float]) -> None:
    image = torch.full((2000, 1, 3, 3), 0.25)
    noise.seed(0)
    v = rbm(binarize=binarize).data.units(image, draw=True)
    assert set(v.unique().round(decimals=4).tolist()) <= values
    if binarize == "sampled":
        assert v.mean().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "pixels"),
    [
        ({"binarize": "sampled"}, "binarised, each by its grey"),
        ({"binarize": "threshold"}, "binarised at 0.5"),
        ({"visible": "gaussian", "sigma": 0.5}, "as they are, with sigma 0.5; log p is a density"),
    ],
)
def test_what_was_judged_is_said(changes: dict[str, Any], pixels: str) -> None:
    judge, split = AnnealedLikelihood(chains=2, temperatures=3), MemorySplit(torch.rand(4, 1, 3, 3))
    split.sibling = lambda name: split  # type: ignore[attr-defined]
    model = rbm(**changes).requires_grad_(False)
    assert judge.applies(model)
    dict(judge.run(model, split))  # type: ignore[arg-type]
    assert judge.protocol()["pixels"] == pixels
    assert not judge.applies(rbm(binarize="none"))  # greys have no probability under binary units


def test_a_stack_learns_one_layer_after_another() -> None:
    torch.manual_seed(0)
    model = DBN((1, 3, 3), hidden=[4, 3], chains=2)
    _, first, second = model.phases()
    assert [first.window, second.window] == [(0.0, 0.5), (0.5, 1.0)]
    noise.seed(0)
    second.objective(torch.rand(6, 1, 3, 3))["loss"].backward()
    assert all(p.grad is None for p in model.layer(0).parameters())
    assert model.layer(0).chains is None
    assert model.layer(1).chains is not None


def test_a_stack_of_one_is_the_machine_itself() -> None:
    torch.manual_seed(0)
    stack = DBN((1, 3, 3), hidden=[4], chains=None, burn_in=3)
    single = rbm(binarize="sampled", burn_in=3)
    single.layer.load_state_dict(stack.layer(0).state_dict())
    image = torch.rand(5, 1, 3, 3)
    torch.testing.assert_close(stack.reconstruct(image), single.reconstruct(image))
    noise.seed(2)
    drawn = stack.sample(4)
    noise.seed(2)
    torch.testing.assert_close(drawn, single.sample(4))

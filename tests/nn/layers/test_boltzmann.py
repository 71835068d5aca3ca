"""RBMs against enumeration of every state, numerical integration and brute force."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.nn.layers.boltzmann import RBMEnergy, contrast, contrastive_divergence, gibbs
from genlab.nn.losses.partition import annealed, exact_log_partition, ladder
from tests.support.models import states

D, H = 5, 4


def energy(inputs: int = D, units: int = H, scale: float = 1.0, seed: int = 0, **types: Any) -> RBMEnergy:
    torch.manual_seed(seed)
    w, b, c = torch.randn(units, inputs), torch.randn(inputs), torch.randn(units)
    return RBMEnergy(scale * w, b, c, **types)


def minus_energy(m: RBMEnergy, v: Tensor, h: Tensor) -> Tensor:
    """−E of every pair, (len(v), len(h)), written down from the definition."""
    visible = (
        v @ m.visible_bias if m.visible == "binary" else -0.5 * (v[:, None] - m.visible_bias).square().sum(2)[:, 0]
    )
    hidden = h @ m.hidden_bias if m.hidden == "binary" else -0.5 * (h[:, None] - m.hidden_bias).square().sum(2)[:, 0]
    return visible[:, None] + hidden[None] + v @ m.weight.t() @ h.t()


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_free_energy_is_the_sum_over_hidden_states(visible: Any) -> None:
    m = energy(visible=visible)
    v = states(D) if visible == "binary" else torch.randn(9, D)
    torch.testing.assert_close(m.free_energy(v), -minus_energy(m, v, states(H)).logsumexp(1))


def test_free_energy_of_gaussian_hidden_units_is_the_integral() -> None:
    m = energy(units=1, scale=0.5, hidden="gaussian")
    v, h = states(D), torch.linspace(-30, 30, 20_001)[:, None]
    integral = minus_energy(m, v, h).double().logsumexp(1) + math.log(60 / 20_000)
    torch.testing.assert_close(m.free_energy(v).double(), -integral, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("visible", "hidden"), [("binary", "binary"), ("gaussian", "binary"), ("binary", "gaussian")])
def test_the_energy_of_states(visible: Any, hidden: Any) -> None:
    m = energy(visible=visible, hidden=hidden)
    v, h = torch.rand(5, D).round(), torch.rand(5, H).round()
    expected = -minus_energy(m, v, h).diagonal()
    torch.testing.assert_close(m.mean_energy(v, h, m.hidden_input(v), v.mean(0)), expected.mean())


@pytest.mark.parametrize(("visible", "hidden"), [("binary", "binary"), ("gaussian", "binary"), ("binary", "gaussian")])
def test_the_gradient_is_the_contrastive_divergence_update(visible: Any, hidden: Any) -> None:
    """⟨hv⟩ over data minus ⟨hv⟩ over fantasies, with E[h|v] for h, and the same for the biases."""
    m = energy(visible=visible, hidden=hidden)
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
    m = energy(scale=0.7)
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
    """From anywhere to p(v): the moments of many chains are those of the enumerated distribution."""
    m = energy(scale=0.5, visible=visible)
    rng.seed(0)
    v = gibbs(m, torch.zeros(40_000, D), 30)
    p = minus_energy(m, states(D), states(H)) if visible == "binary" else None
    if p is not None:
        p = (p - p.logsumexp((0, 1))).exp()
        mean, second = states(D).t() @ p.sum(1), states(D).t() @ (states(D) * p.sum(1)[:, None])
        torch.testing.assert_close(v.mean(0), mean, atol=0.015, rtol=0)
        torch.testing.assert_close(v.t() @ v / len(v), second, atol=0.015, rtol=0)
    else:  # v given h is normal about b + Wᵀh: p(h) ∝ exp(c·h + ½|b + Wᵀh|² − ½|b|²)
        center = m.visible_bias + states(H) @ m.weight
        q = (states(H) @ m.hidden_bias + 0.5 * center.square().sum(1)).softmax(0)
        torch.testing.assert_close(v.mean(0), q @ center, atol=0.04, rtol=0)


def test_contrastive_divergence_draws_by_the_seed_and_takes_no_gradient_through_fantasies() -> None:
    m = energy()
    m.weight.requires_grad_()
    v = torch.rand(8, D).round()
    rng.seed(3)
    loss = contrastive_divergence(m, v, steps=2)
    rng.seed(3)
    fantasy = gibbs(m, v, 2)
    assert not fantasy.requires_grad
    torch.testing.assert_close(loss, contrast(m, v, fantasy))
    rng.seed(3)
    probabilities = gibbs(m, v, 1, mean=True)
    assert ((probabilities > 0) & (probabilities < 1)).all()


# ---------------------------------------------------------------------- the normalizer


@pytest.mark.parametrize(
    ("inputs", "units", "types"),
    [(5, 4, {}), (4, 6, {}), (5, 3, {"visible": "gaussian"}), (4, 5, {"hidden": "gaussian"})],
    ids=str,
)
def test_exact_log_z_is_the_sum_over_all_states(inputs: int, units: int, types: dict[str, Any]) -> None:
    m = energy(inputs, units, scale=0.4, **types)
    if types.get("visible") == "gaussian":  # ∫ exp(−½|v−b|² + v·Wᵀh) dv, by completing the square
        field = states(units) @ m.weight
        terms = states(units) @ m.hidden_bias + (field @ m.visible_bias) + 0.5 * field.square().sum(1)
        expected = terms.logsumexp(0) + inputs / 2 * math.log(2 * math.pi)
    else:
        expected = (-m.free_energy(states(inputs))).logsumexp(0)
    assert exact_log_partition(m) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@pytest.mark.parametrize(("units", "scale"), [(10, 0.3), (20, 0.15)])
def test_annealing_finds_log_z_within_a_tenth_of_a_nat(units: int, scale: float, visible: Any) -> None:
    m = energy(40, units, scale, visible=visible)
    rng.seed(1)
    found = annealed(m, m.visible_bias * 0.9, chains=300, temperatures=600)
    exact = exact_log_partition(m)
    assert exact is not None
    assert abs(found.value - exact) < 0.1
    assert found.low <= exact <= found.high
    assert 1 < found.chains <= 300


def test_the_interval_shows_too_few_temperatures() -> None:
    """One jump is plain importance sampling: hardly a chain counts, and the interval is open below."""
    m = energy(60, 15, scale=1.0)
    rng.seed(0)
    rough = annealed(m, torch.zeros(60), chains=50, temperatures=1)
    assert rough.chains < 5
    assert rough.low == -math.inf


def test_the_ladder_is_that_of_salakhutdinov_and_murray() -> None:
    betas = torch.tensor(ladder(14_500), dtype=torch.float64)
    assert (betas[0], betas[-1]) == (0, 1)
    assert betas[500] == pytest.approx(0.5)
    assert betas[4_500] == pytest.approx(0.9)
    assert (betas.diff() > 0).all()


def test_only_a_small_rbm_is_enumerated() -> None:
    assert exact_log_partition(energy(30, 6)) is not None
    assert exact_log_partition(energy(6, 30)) is not None
    for large in (energy(6, 30, visible="gaussian"), energy(30, 6, hidden="gaussian"), energy(30, 25)):
        assert exact_log_partition(large) is None

"""DDPM against closed forms: schedules, the posterior, a Gaussian's samples, DDIM's determinism."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.diffusion.ddpm import DDPM, ddim_step
from genlab.nn.diffusion.schedules import alpha_bars
from tests.support.fields import POINT, known

MEAN, DEVIATION = 1.5, 0.5  # of the Gaussian that the data come from


def of_gaussian(target: str = "epsilon", **options: Any) -> DDPM:
    """The model whose network is the posterior mean of its target, for data N(MEAN, DEVIATION²)."""
    model = known(DDPM, None, target=target, **options)

    def best(x: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        t = (time * model.timesteps).round().long()
        signal, noise = model.signal[t], model.noise[t]
        epsilon = noise * (x - signal * MEAN) / (signal**2 * DEVIATION**2 + noise**2)
        x0 = (x - noise * epsilon) / signal
        return {"epsilon": epsilon, "x0": x0, "v": signal * epsilon - noise * x0}[target]

    return known(DDPM, best, target=target, **options)


def test_the_linear_schedule_has_the_papers_betas() -> None:
    found = torch.tensor(alpha_bars("linear", 1000), dtype=torch.float64)
    assert torch.allclose(1 - found[1:] / found[:-1], torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), atol=1e-9)
    assert found[0] == 1


def test_schedules_of_fewer_steps_reach_as_much_noise() -> None:
    assert math.log(alpha_bars("linear", 100)[-1]) == pytest.approx(math.log(alpha_bars("linear", 1000)[-1]), rel=0.1)


def test_the_cosine_schedule_is_a_squared_cosine() -> None:
    found = alpha_bars("cosine", 1000)
    start = math.cos(math.pi / 2 * 0.008 / 1.008) ** 2
    for t in (1, 250, 500, 900):
        assert found[t] == pytest.approx(math.cos(math.pi / 2 * (t / 1000 + 0.008) / 1.008) ** 2 / start)
    assert 0 < found[1000] < found[999]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_step_with_all_its_noise_is_the_posterior(schedule: Any) -> None:
    """q(x_{t-1}|x_t, x₀) of Ho et al. (2020), equations 6 and 7."""
    found = alpha_bars(schedule, 50)
    x0, x = torch.tensor([0.3, -0.7]), torch.tensor([1.1, 0.2])
    for t in range(1, 51):
        now, then = found[t], found[t - 1]
        alpha, beta = now / then, 1 - now / then
        mean = then**0.5 * beta / (1 - now) * x0 + alpha**0.5 * (1 - then) / (1 - now) * x
        deviation = (beta * (1 - then) / (1 - now)) ** 0.5
        epsilon = (x - now**0.5 * x0) / (1 - now) ** 0.5
        rng.seed(t)
        stepped = ddim_step(x0, epsilon, now, then, eta=1.0)
        rng.seed(t)
        noise = rng.normal(2, like=x)
        assert torch.allclose(stepped, mean + deviation * noise, atol=1e-5)


@pytest.mark.parametrize("target", ["epsilon", "x0", "v"])
def test_each_target_gives_the_data_and_the_noise(target: str) -> None:
    x0, epsilon = torch.rand(5, 1, 4, 4) * 2 - 1, torch.randn(5, 1, 4, 4)
    model = known(DDPM, None, shape=(1, 4, 4), target=target)
    for t in (1, 300, 700):
        a, b = model.alpha_bar[t] ** 0.5, (1 - model.alpha_bar[t]) ** 0.5
        exact = {"epsilon": epsilon, "x0": x0, "v": a * epsilon - b * x0}[target]
        found = known(DDPM, lambda x, t, label, e=exact: e, shape=(1, 4, 4), target=target)
        for known_value, value in zip((x0, epsilon), found.denoised(a * x0 + b * epsilon, t, None), strict=True):
            assert torch.allclose(known_value, value, atol=2e-3)


@pytest.mark.parametrize("target", ["epsilon", "x0", "v"])
def test_ddim_maps_noise_to_a_gaussian_by_its_closed_form(target: str) -> None:
    model = of_gaussian(target)
    rng.seed(0)
    first, *_, end = model.path(50, steps=500)
    a = model.alpha_bar[-1]
    expected = MEAN + DEVIATION * (first - a**0.5 * MEAN) / (a * DEVIATION**2 + 1 - a) ** 0.5
    assert torch.allclose(end, expected, atol=0.02)


def test_ancestral_samples_are_from_the_gaussian() -> None:
    rng.seed(0)
    x = of_gaussian().sample(4000, steps=1000, eta=1.0)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(x.std()) == pytest.approx(DEVIATION, abs=0.02)


def test_ddim_draws_no_noise_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model, start = of_gaussian(), torch.randn(3, *POINT)
    monkeypatch.setattr(model, "normal", lambda *shape: start)
    found = [model.sample(3, steps=20, eta=eta) for eta in (0.0, 0.0, 1.0, 1.0)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[2], found[3])


def test_steps_are_a_subset_of_the_models() -> None:
    model = known(DDPM, timesteps=10)
    assert model.subset(10) == [*range(10, -1, -1)]
    assert model.subset(3) == [10, 7, 3, 0]
    with pytest.raises(ConfigError, match="the model has 10 steps; steps=11; give steps=10 or fewer"):
        model.sample(2, steps=11)


def test_the_loss_at_first_is_that_of_predicting_nothing() -> None:
    """The network starts at zero: E‖ε‖² is the number of values; E‖v‖² = ᾱ D + (1 − ᾱ)‖x₀‖² is too at ‖x₀‖² = D."""
    rng.seed(0)
    for target in ("epsilon", "v"):
        model = known(DDPM, shape=(1, 4, 4), target=target)
        loss = model.loss(torch.ones(4000, 1, 4, 4))["loss"].detach()
        assert float(loss) == pytest.approx(16, rel=0.02)


def test_a_path_has_every_state() -> None:
    model = known(DDPM)
    rng.seed(0)
    states = list(model.path(4, steps=5))
    rng.seed(0)
    assert len(states) == 6
    assert torch.equal(model.sample(4, steps=5), states[-1])

"""Output distributions and β schedules against sums over all gray levels, torch.distributions and papers' formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.models.autoencoders.vae import VAE
from genlab.nn.losses.divergences import BETAS, kl_per_dimension, kl_standard_normal
from genlab.nn.losses.likelihood import OutputDistribution, discretized_logistic_nll

GRAYS = torch.arange(256) / 255


@pytest.mark.parametrize("mean", [0.0, 0.3, 0.5004, 1.0])
@pytest.mark.parametrize("log_scale", [-12.0, -6.0, -3.0, 0.0, 4.0])
def test_the_256_grays_have_mass_one(mean: float, log_scale: float) -> None:
    nll = discretized_logistic_nll(torch.full((256, 1), mean), GRAYS[:, None], torch.tensor(log_scale))
    assert torch.exp(-nll.double()).sum().item() == pytest.approx(1, abs=1e-4)


def test_a_bin_has_the_logistic_mass_between_its_ends() -> None:
    """Against the difference of torch's distribution functions, where float64 keeps it from cancelling."""
    mean, scale = torch.tensor(0.4, dtype=torch.float64), 0.05
    distribution = torch.distributions.TransformedDistribution(
        torch.distributions.Uniform(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)),
        [
            torch.distributions.SigmoidTransform().inv,
            torch.distributions.AffineTransform(mean, torch.tensor(scale, dtype=torch.float64)),
        ],
    )
    inner = GRAYS[1:-1].double()
    mass = distribution.cdf(inner + 0.5 / 255) - distribution.cdf(inner - 0.5 / 255)
    nll = discretized_logistic_nll(mean.expand(254, 1).float(), inner[:, None].float(), torch.tensor(scale).log())
    torch.testing.assert_close(nll.double(), -mass.log(), rtol=1e-4, atol=1e-4)


def test_far_from_the_mean_the_loss_and_its_gradient_stay_finite() -> None:
    mean = torch.zeros(1, 256, requires_grad=True)
    log_scale = torch.tensor(-9.0, requires_grad=True)
    loss = discretized_logistic_nll(mean, GRAYS[None], log_scale).sum()
    loss.backward()
    assert loss.isfinite()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()
    assert log_scale.grad is not None
    assert log_scale.grad.isfinite()


def test_a_learned_scale_finds_the_noise_of_the_data() -> None:
    """A logistic distribution of scale 0.05 around ½: the fitted scale is that, to the error of 20,000 pixels."""
    torch.manual_seed(0)
    u = torch.rand(200, 1, 10, 10)
    x = ((0.5 + 0.05 * torch.log(u / (1 - u))).clamp(0, 1) * 255).round() / 255
    distribution = OutputDistribution("logistic", "learned")
    optimizer = torch.optim.Adam(distribution.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        distribution.nll(torch.zeros_like(x), x).mean().backward()
        optimizer.step()
    assert distribution.log_sigma.exp().item() == pytest.approx(0.05, rel=0.03)


def test_kl_per_dimension_adds_up() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close(kl_per_dimension(mean, log_variance).sum(1), kl_standard_normal(mean, log_variance))
    assert (kl_per_dimension(mean, log_variance) >= 0).all()


KL = torch.tensor([[0.1, 0.6], [2.0, 30.0]])


def weights(spec: Any, *moments: float) -> list[float]:
    """What multiplies an image's KL at these shares of training."""
    penalty = BETAS.build(spec, "model.beta_schedule")
    return [(penalty(KL, torch.tensor(t)) / KL.sum(1)).tolist()[1] for t in moments]


def test_schedules_are_those_of_the_papers() -> None:
    assert weights("constant", 0.001, 1.0) == pytest.approx([1, 1])
    assert weights({"name": "linear", "warmup": 0.2}, 0.05, 0.1, 0.2, 1.0) == pytest.approx([0.25, 0.5, 1, 1])
    cyclic = {"name": "cyclic", "cycles": 4, "warmup": 0.5}
    moments = (0.0625, 0.125, 0.2, 0.3125, 0.45, 0.8125, 1.0)
    assert weights(cyclic, *moments) == pytest.approx([0.5, 1, 1, 0.5, 1, 0.5, 1], abs=1e-5)


def gradient(spec: Any, kl: Tensor, progress: float = 1.0) -> Tensor:
    kl = kl.clone().requires_grad_()
    (slope,) = torch.autograd.grad(BETAS.build(spec, "").__call__(kl, torch.tensor(progress)).sum(), kl)
    return slope


def test_free_bits_press_only_on_what_says_more() -> None:
    spec = {"name": "free_bits", "nats": 0.5}
    assert gradient(spec, KL).tolist() == [[0, 1], [1, 1]]
    assert BETAS.build(spec, "")(KL, torch.tensor(0.0)).tolist() == pytest.approx([1.1, 32])


def test_capacity_pulls_the_kl_to_a_rising_value() -> None:
    spec = {"name": "capacity", "nats": 20.0, "warmup": 0.5}
    assert gradient(spec, KL).tolist() == [[-1, -1], [1, 1]]  # 0.7 nats are too few, 32 too many
    assert BETAS.build(spec, "")(KL, torch.tensor(0.25)).tolist() == pytest.approx([9.3, 22])


@pytest.mark.parametrize("name", BETAS.names())
def test_every_schedule_moves_the_loss_and_leaves_the_bound(name: str) -> None:
    torch.manual_seed(0)
    model = VAE((1, 4, 4), {"name": "mlp", "hidden": [8]}, latent_dim=3, beta=2.0, beta_schedule=name)
    image, said = torch.rand(6, 1, 4, 4), []
    for progress in (0.1, 1.0):
        if name != "constant":  # it reads none
            model.progress.fill_(progress)
        rng.seed(0)
        said.append(model.loss(image))
    expected = BETAS.build(name, "")(kl_per_dimension(*model.posterior(image)), torch.tensor(1.0)).mean()
    torch.testing.assert_close(said[1]["loss"], said[1]["reconstruction"] + 2 * expected)
    assert said[0]["elbo"] == said[1]["elbo"]
    assert (said[0]["loss"] == said[1]["loss"]) == (name in ("constant", "free_bits"))


def test_the_best_is_sought_once_the_loss_stands_still() -> None:
    def monitored(spec: Any, progress: float) -> str | None:
        model = VAE((1, 4, 4), {"name": "mlp", "hidden": [8]}, latent_dim=3, beta_schedule=spec)
        model.progress.fill_(progress)
        return model.monitor

    assert monitored("free_bits", 0.1) == "loss"
    assert [monitored({"name": "linear", "warmup": 0.3}, done) for done in (0.2, 0.4)] == [None, "loss"]
    assert [monitored("cyclic", done) for done in (0.8, 0.9)] == [None, "loss"]  # the last of four cycles
    assert not hasattr(VAE((1, 4, 4), {"name": "mlp", "hidden": [8]}), "progress")

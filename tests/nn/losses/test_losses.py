"""Losses against torch's own and against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from genlab.nn.losses.adversarial import discriminator_loss, minimax_generator_loss, non_saturating_generator_loss
from genlab.nn.losses.divergences import kl_standard_normal
from genlab.nn.losses.likelihood import bernoulli_nll, gaussian_nll, pairwise_bernoulli_nll


def logits_and_targets() -> tuple[Tensor, Tensor]:
    """Logits from -1000 to 1000 against targets 0, 1 and between, as images (N, 1, 3, 23)."""
    extremes = torch.tensor([0, 1e-6, 1e-3, 0.5, 1, 5, 15, 17, 50, 88, 104, 1000])
    logits = torch.cat([extremes, -extremes[1:]])
    targets = torch.tensor([0.0, 0.3, 1.0])
    return logits.expand(4, 1, 3, -1).contiguous(), targets[:, None].expand(4, 1, 3, len(logits)).contiguous()


def exact_bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.double(), x.double(), reduction="none")


def test_bernoulli_value_is_torchs_at_any_logit() -> None:
    logits, x = logits_and_targets()
    each = bernoulli_nll(logits.reshape(-1, 1), x.reshape(-1, 1))
    torch.testing.assert_close(each, exact_bernoulli(logits, x).flatten().float(), rtol=1e-6, atol=1e-7)
    summed = bernoulli_nll(logits, x)
    assert summed.shape == (4,)
    torch.testing.assert_close(summed, exact_bernoulli(logits, x).sum((1, 2, 3)).float())


def test_bernoulli_gradient_is_torchs_at_any_logit() -> None:
    logits, x = logits_and_targets()
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    weights = torch.tensor([1.0, -1.0, 0.5, 0.25])
    (bernoulli_nll(ours, x) * weights).sum().backward()
    (exact_bernoulli(theirs, x).sum((1, 2, 3)) * weights).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad.float(), rtol=1e-6, atol=1e-7)


def test_bernoulli_gradient_reaches_the_targets() -> None:
    logits, x = torch.randn(3, 7), torch.rand(3, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(bernoulli_nll(logits, x).sum(), x)
    torch.testing.assert_close(gradient, -logits)


def test_pairwise_bernoulli_is_that_of_every_pair_in_full_precision() -> None:
    logits, x = torch.randn(3, 1, 4, 5), torch.rand(2, 1, 4, 5)
    pairs = torch.stack([bernoulli_nll(logits, image.expand(3, -1, -1, -1)) for image in x])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(pairwise_bernoulli_nll(logits, x), pairs)


def test_bernoulli_can_be_differentiated_twice() -> None:
    x = torch.rand(2, 5)
    for nll in (bernoulli_nll, lambda logits, x: exact_bernoulli(logits, x).sum(1).float()):
        logits = torch.linspace(-4, 4, 10).view(2, 5).requires_grad_()
        (gradient,) = torch.autograd.grad(nll(logits, x).sum(), logits, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), logits)
        p = logits.sigmoid()
        torch.testing.assert_close(second, 2 * (p - x) * p * (1 - p))


def test_bernoulli_shows_a_logit_that_is_no_number() -> None:
    logits = torch.tensor([[0.0, math.nan], [0.0, 1.0]])
    assert bernoulli_nll(logits, torch.zeros(2, 2)).isnan().tolist() == [True, False]


@pytest.mark.parametrize("log_sigma", [-2.0, 0.0, 1.5])
def test_gaussian_is_torchs_normal(log_sigma: float) -> None:
    mean, x = torch.rand(4, 3, 5, 6), torch.rand(4, 3, 5, 6)
    nll = gaussian_nll(mean, x, torch.tensor(log_sigma))
    torch.testing.assert_close(nll, -Normal(mean, math.exp(log_sigma)).log_prob(x).sum((1, 2, 3)))


def test_learned_sigma_settles_at_the_root_mean_squared_error() -> None:
    mean, x = torch.rand(16, 1, 4, 4), torch.rand(16, 1, 4, 4)
    log_sigma = (x - mean).square().mean().sqrt().log().requires_grad_()
    (slope,) = torch.autograd.grad(gaussian_nll(mean, x, log_sigma).mean(), log_sigma)
    assert abs(slope.item()) < 1e-4
    for away in (-0.1, 0.1):
        assert gaussian_nll(mean, x, log_sigma + away).mean() > gaussian_nll(mean, x, log_sigma).mean()


def test_kl_is_torchs() -> None:
    mean, log_variance = torch.randn(6, 9), torch.randn(6, 9)
    theirs = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_standard_normal(mean, log_variance), theirs)
    assert kl_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0.0, 0.0]


def test_losses_of_half_precision_are_computed_in_float32() -> None:
    half, x = (5 * torch.randn(2, 400)).bfloat16(), torch.rand(2, 400)
    torch.testing.assert_close(bernoulli_nll(half, x), bernoulli_nll(half.float(), x))
    torch.testing.assert_close(
        gaussian_nll(half, x, torch.tensor(0.0)), gaussian_nll(half.float(), x, torch.tensor(0.0))
    )
    torch.testing.assert_close(kl_standard_normal(half, half), kl_standard_normal(half.float(), half.float()))


def test_adversarial_losses_are_their_definitions() -> None:
    real, fake = torch.randn(8, 1), torch.randn(8, 1)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    torch.testing.assert_close(discriminator_loss(real, fake), -d_real.log().mean() - (1 - d_fake).log().mean())
    torch.testing.assert_close(minimax_generator_loss(fake), (1 - d_fake).log().mean())
    torch.testing.assert_close(non_saturating_generator_loss(fake), -d_fake.log().mean())
    blind = torch.zeros(8, 1)
    assert discriminator_loss(blind, blind).item() == pytest.approx(math.log(4))  # section 4.1: at equilibrium


def test_generator_gradients_are_minus_d_and_d_minus_one() -> None:
    fake = torch.tensor([-30.0, -3.0, 0.0, 3.0], requires_grad=True)
    d = fake.detach().sigmoid()
    (saturating,) = torch.autograd.grad(minimax_generator_loss(fake) * 4, fake)
    (steep,) = torch.autograd.grad(non_saturating_generator_loss(fake) * 4, fake)
    torch.testing.assert_close(saturating, -d)  # vanishes where the discriminator is sure of a fake
    torch.testing.assert_close(steep, d - 1)  # stays at -1 there


def test_adversarial_losses_are_finite_for_a_discriminator_that_is_sure() -> None:
    sure = torch.tensor([[200.0], [-200.0]])
    assert discriminator_loss(sure, -sure).item() == pytest.approx(200.0)
    assert non_saturating_generator_loss(sure).isfinite()
    assert minimax_generator_loss(sure).isfinite()

"""EDM against its paper: table 1, the noise levels, and a Gaussian, whose best denoiser is the network's start."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.core import rng
from genlab.models.diffusion.edm import EDM
from genlab.nn.diffusion.schedules import noise_levels
from tests.support.fields import POINT, known

SIGMA = torch.tensor([0.002, 0.1, 0.5, 2.0, 80.0])


def gaussian(**options: Any) -> EDM:
    """The best denoiser of N(0, ½²): with a network that is zero, D(x; σ) = c_skip x, the posterior mean."""
    return known(EDM, lambda x, t, label: torch.zeros_like(x), **options)


def test_preconditioning_gives_unit_variances_and_amplifies_errors_least() -> None:
    model = known(EDM)
    c_skip, c_out, c_in, c_noise = model.preconditioning(SIGMA)
    data = 0.5**2
    assert torch.allclose(c_in**2 * (data + SIGMA**2), torch.ones(5))  # the network's input, equation 114
    # its target (y − c_skip (y + n)) / c_out, equation 117
    assert torch.allclose(((1 - c_skip) ** 2 * data + c_skip**2 * SIGMA**2) / c_out**2, torch.ones(5), rtol=1e-4)
    assert torch.allclose(c_skip, data / (data + SIGMA**2))  # which minimizes c_out, equation 131
    assert torch.allclose(c_noise, SIGMA.log() / 4)


def test_noise_levels_follow_rho() -> None:
    levels = noise_levels(80.0, 0.002, 18)
    assert len(levels) == 19
    assert levels[0] == pytest.approx(80)
    assert levels[17] == pytest.approx(0.002)
    assert levels[18] == 0
    roots = torch.tensor(levels[:18]) ** (1 / 7)
    assert torch.allclose(roots.diff(), roots.diff().mean().expand(17), atol=1e-5)  # equal steps of σ^(1/ρ)
    assert noise_levels(80.0, 0.002, 1) == [pytest.approx(80), 0]


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_samples_of_a_gaussian_are_its_closed_form(solver: Any, order: int) -> None:
    """dx/dσ = σ x / (σ² + ¼): x(0) = ½ x(σ_max) / √(σ_max² + ¼)."""

    def error(steps: int) -> float:
        rng.seed(0)
        first, *_, end = gaussian().path(50, steps=steps, solver=solver)
        return float((end - 0.5 * first / (80**2 + 0.25) ** 0.5).abs().max())

    assert error(160) < 0.3 / 10**order
    assert error(40) / error(80) == pytest.approx(2**order, rel=0.35)


def test_churn_adds_noise_and_keeps_the_distribution() -> None:
    rng.seed(0)
    samples = gaussian().sample(4000, steps=100, churn=40.0)
    assert float(samples.std()) == pytest.approx(0.5, rel=0.03)
    rng.seed(0)
    first = gaussian().sample(4000, steps=100)
    assert (samples - first).abs().mean() > 0.1


def test_the_loss_of_a_gaussian_is_one_for_each_value() -> None:
    """λ(σ) E‖D − y‖² = 1/c_out² · c_out² · D, as the target of the network has variance 1 and the network is zero."""
    rng.seed(0)
    data = 0.5 * torch.randn(20_000, *POINT)
    assert float(gaussian().loss(data)["loss"]) == pytest.approx(2, rel=0.03)


def test_the_network_sees_the_class_and_guidance_moves_the_denoiser() -> None:
    model = known(
        EDM, lambda x, t, label: torch.zeros_like(x) if label is None else torch.ones_like(x), conditional=True
    )
    x, sigma, label = torch.zeros(3, *POINT), torch.full((3,), 2.0), torch.tensor([0, 1, 2])
    c_out = model.preconditioning(sigma)[1][0]
    for guidance in (0.0, 1.0, 3.0):
        assert torch.allclose(model.denoised(x, sigma, label, guidance), (guidance * c_out).expand(3, *POINT))

"""Straightness against closed forms: the flow between Gaussians, constant velocities, and MeanFlow's own field."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import HasVelocity
from genlab.evaluation.evaluators.paths.straightness import Straightness, deviation
from genlab.models.diffusion.ddpm import DDPM
from genlab.models.flows.flow_matching import FlowMatching
from genlab.models.flows.meanflow import MeanFlow
from tests.support.fields import POINT, known

MEAN = torch.tensor([3.0, -1.0]).reshape(POINT)


def of_gaussian(x: Tensor, t: Any, label: Any = None) -> Tensor:
    """The velocity of independent pairs from N(0, I) to N(m, I): z_t = t m + σ_t x₀ with σ_t² = (1 − t)² + t²."""
    return MEAN + (2 * t - 1) / ((1 - t) ** 2 + t**2) * (x - t * MEAN)


def test_the_flow_between_gaussians_has_its_closed_form() -> None:
    """z₁ − z₀ = m and dz/dt = m + σ'_t x₀, so the integral is ‖x₀‖² ∫ σ'_t² dt = ‖x₀‖² (2 − π/2)."""
    rng.seed(0)
    x0 = rng.normal(50, *POINT, like=torch.zeros(()))
    bent, length = deviation(of_gaussian, x0, 100)
    square = x0.double().square().flatten(1).sum(1)
    assert torch.allclose(bent, square * (2 - math.pi / 2), rtol=1e-3)
    assert length.tolist() == pytest.approx([10.0] * 50, rel=1e-4)


def test_a_constant_velocity_is_straight_and_a_turn_is_not() -> None:
    x0 = torch.zeros(2, *POINT)
    constant = torch.tensor([[0.5, -2.0], [0.0, 4.0]]).reshape(2, *POINT)
    bent, length = deviation(lambda x, t: constant, x0, 8)
    assert bent.tolist() == [0, 0]
    assert length.tolist() == [4.25, 16]
    there_and_back = deviation(lambda x, t: torch.full_like(x, 1.0 if t < 0.5 else -1.0), x0, 8)
    assert there_and_back[0].tolist() == pytest.approx([2, 2])  # ‖v‖², as x₁ = x₀
    assert there_and_back[1].tolist() == pytest.approx([0, 0])


@pytest.mark.parametrize("n", [230, 200])
def test_the_evaluator_is_the_mean_over_all_samples(n: int) -> None:
    model = known(FlowMatching, of_gaussian)
    rng.seed(0)
    found = {name: float(value) for name, value in Straightness(n=n, batch_size=100).run(model, None)}  # type: ignore[arg-type]
    expected = 2 * (2 - math.pi / 2)
    assert found["straightness"] == pytest.approx(expected, abs=4 * found["straightness_se"])
    assert found["straightness_relative"] == pytest.approx(found["straightness"] / 10, rel=1e-3)
    # ‖x₀‖² has the variance 4 in two dimensions
    assert found["straightness_se"] == pytest.approx(2 * (2 - math.pi / 2) / n**0.5, rel=0.3)


def test_meanflow_is_measured_by_its_velocity_from_noise_to_data() -> None:
    """u(z, t, t) = dz/dt with time from data to noise."""

    def average(z: Tensor, time: Tensor, label: Any) -> Tensor:
        t, apart = time.split(1, dim=1)
        assert not apart.any()
        return -of_gaussian(z, 1 - t)

    model = known(MeanFlow, average)
    assert isinstance(model, HasVelocity)
    x = torch.randn(5, *POINT, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model.velocity(x, 0.3), of_gaussian(x, 0.3), atol=1e-5)


def test_classes_are_followed_in_turn() -> None:
    model = known(FlowMatching, lambda x, t, label: torch.ones_like(x), conditional=True)
    list(Straightness(n=5, steps=1, batch_size=5).run(model, None))  # type: ignore[arg-type]
    assert model.network.labels[0].tolist() == [0, 1, 2, 0, 1]


def test_it_applies_to_flows_alone() -> None:
    assert Straightness().applies(known(FlowMatching))
    assert Straightness().applies(known(MeanFlow))
    assert not Straightness().applies(known(DDPM))

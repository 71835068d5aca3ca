"""MeanFlow: its identity by finite differences, and average velocities in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.flows.flow_matching import FlowMatching
from genlab.models.flows.meanflow import SMALL, MeanFlow, interleaved
from genlab.nn.diffusion.derivatives import jvp
from genlab.registry import discover
from tests.support.fields import POINT, known

SPREAD = 0.5  # standard deviation of Gaussian data


def deviation(t: Tensor) -> Tensor:
    """Of z_t for data N(0, SPREAD²)."""
    return ((1 - t) ** 2 * SPREAD**2 + t**2).sqrt()


def average_of_gaussian(z: Tensor, time: Tensor, label: Any = None) -> Tensor:
    """u(z, r, t) = (z_t − z_r) / (t − r) along the flow z_r = z_t σ_r / σ_t; `time` is (t, t − r), (N, 2, 1, 1)."""
    t, length = time[:, :1], time[:, 1:]
    return z * (1 - deviation(t - length) / deviation(t)) / length


def random_times() -> tuple[Tensor, Tensor]:
    r = torch.rand(6) * 0.5
    return r, r + 0.2 + 0.3 * torch.rand(6)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        ({"name": "film_mlp", "width": 16, "layers": 2}, POINT),
        ({"name": "adm_unet", "channels": [8, 16], "blocks": 1, "attention": 4}, (1, 8, 8)),
    ],
    ids=["film_mlp", "adm_unet"],
)
def test_the_derivative_along_the_path_is_that_of_finite_differences(network: Any, shape: Any) -> None:
    torch.manual_seed(0)
    discover()
    model = known(MeanFlow, None, shape, network=network)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    (r, t), z, v = random_times(), torch.randn(6, *shape), torch.randn(6, *shape)
    _, du_dt = jvp(lambda z, r, t: model.average(z, r, t, None), (z, r, t), (v, torch.zeros(6), torch.ones(6)))
    h = 1e-2
    with torch.no_grad():
        ahead, behind = (model.average(z + d * v, r, t + d, None) for d in (h, -h))
    difference = (ahead - behind) / (2 * h)
    assert (du_dt - difference).norm() < 0.01 * difference.norm()


def test_the_identity_holds_for_the_average_velocity_of_a_gaussian() -> None:
    """u = v − (t − r) du/dt with the velocity v of the whole flow; for another u it does not hold."""
    torch.manual_seed(0)
    (r, t), z = random_times(), torch.randn(6, *POINT)
    s = t[:, None, None, None]
    v = z * (s - (1 - s) * SPREAD**2) / deviation(s) ** 2
    exact = known(MeanFlow, average_of_gaussian)
    assert exact.interval_error(z, r, t, v, None).max() < 1e-6
    other = known(MeanFlow, lambda z, time, label: 1.1 * average_of_gaussian(z, time))
    assert other.interval_error(z, r, t, v, None).min() > 1e-5


@pytest.mark.parametrize("steps", [1, 3])
def test_samples_of_the_exact_average_are_exact_in_any_number_of_steps(steps: int) -> None:
    rng.seed(0)
    first, *_, end = known(MeanFlow, average_of_gaussian).path(50, steps=steps)
    assert torch.allclose(end, SPREAD * first, atol=1e-5)


def test_without_intervals_the_error_is_that_of_flow_matching() -> None:
    """The same field with time turned around: v(x, t) of flow matching is −u(z, t, t) at 1 − t."""
    options = {"shape": (1, 4, 4), "time": "uniform"}
    here = known(MeanFlow, lambda z, time, label: z * time[:, :1], interval_fraction=0.0, **options)
    there = known(FlowMatching, lambda x, t, label: -x * (1 - t), **options)
    image = torch.rand(20_000, 1, 4, 4)
    rng.seed(0)
    # the larger of two uniform numbers: weigh the plain loss by the density 2t
    x, t = 2 * image - 1, here.times(20_000, image)[1]
    error = here.instant_error(*_path(x, t), None)
    plain = there.loss(image)["loss"]
    assert float((error / (2 * t)).mean()) == pytest.approx(float(plain), rel=0.05)


def _path(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    s, epsilon = t[:, None, None, None], torch.randn_like(x)
    return (1 - s) * x + s * epsilon, t, t, epsilon - x


def test_the_weight_of_an_example_falls_with_its_error() -> None:
    image = torch.rand(8, 1, 4, 4)
    found = {}
    for power in (0.0, 1.0):
        rng.seed(0)
        found[power] = known(MeanFlow, None, (1, 4, 4), adaptive_power=power).loss(image)
    assert found[0.0]["loss"].detach() == pytest.approx(float(found[0.0]["squared_error"]))
    assert float(found[1.0]["loss"].detach()) == pytest.approx(1, abs=SMALL)
    assert torch.equal(found[0.0]["squared_error"], found[1.0]["squared_error"])


def test_training_guidance_mixes_the_velocity_of_the_class_with_that_of_none() -> None:
    model = known(MeanFlow, lambda z, t, label: torch.full_like(z, 5.0), conditional=True, training_guidance=3.0)
    z, v = torch.zeros(2, *POINT), torch.ones(2, *POINT)
    found = model.guided_velocity(z, torch.ones(2), v, torch.tensor([1, 3]))  # 3: hidden
    assert found[0].eq(3 * 1 - 2 * 5).all()
    assert found[1].eq(1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"needs classes; key model.training_guidance; add model.conditional=true"),
        (
            {"conditional": True, "label_dropout": 0.0},
            r"training_guidance other than 1 needs .* key model.label_dropout",
        ),
    ],
)
def test_training_guidance_needs_a_network_with_and_without_classes(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        known(MeanFlow, training_guidance=3.0, **options)


def test_a_batch_without_an_interval_is_refused() -> None:
    model = known(MeanFlow)
    model.check_batch(4)
    with pytest.raises(ConfigError, match=r"0.25 of a batch of 3 examples is none of them; key model.interval_frac"):
        model.check_batch(3)
    known(MeanFlow, interval_fraction=0.0).check_batch(3)


def test_a_fraction_of_the_examples_has_an_interval_whatever_the_ranks() -> None:
    like = torch.zeros(())
    apart, together = interleaved(16, 0.25, like)
    assert sorted([*apart.tolist(), *together.tolist()]) == list(range(16))
    assert len(apart) == 4
    halves = interleaved(8, 0.25, like)[0]
    assert sorted([*halves.tolist(), *(halves + 8).tolist()]) == sorted(apart.tolist())
    assert [len(part) for part in interleaved(3, 0.0, like)] == [0, 3]
    assert [len(part) for part in interleaved(3, 1.0, like)] == [3, 0]

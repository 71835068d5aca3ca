"""The density of an ODE's samples against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.likelihood.log_likelihood import LogLikelihood
from genlab.models.flows.flow_matching import FlowMatching
from genlab.nn.diffusion.density import log_density, with_divergence
from genlab.nn.losses.dequantization import dequantize
from tests.support.fields import POINT, known

MEAN, DEVIATION = 3.0, 0.5


def velocity_of_gaussian(x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
    """Of the flow from N(0, 1) to N(MEAN, DEVIATION²) on straight paths."""
    return MEAN + (t * DEVIATION**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * DEVIATION**2) * (x - t * MEAN)


def log_gaussian(x: Tensor, mean: float, deviation: float) -> Tensor:
    each = -0.5 * ((x - mean) / deviation).square() - math.log(deviation * math.sqrt(2 * math.pi))
    return each.flatten(1).sum(1)


@pytest.mark.parametrize("exact", [True, False])
def test_the_density_of_a_gaussian_is_its_closed_form(exact: bool) -> None:
    """Exactly, and by the estimate, which is exact where the Jacobian is diagonal."""
    x = MEAN + torch.randn(20, 3, 1, 1)
    found = log_density(velocity_of_gaussian, x, steps=40, exact=exact)
    assert torch.allclose(found, log_gaussian(x, MEAN, DEVIATION), atol=1e-3)


def test_the_estimate_of_the_divergence_has_the_trace_as_its_mean() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(5, 5)
    x = torch.randn(8, 5)
    value, trace = with_divergence(lambda x: x @ matrix.T, x, [row.expand_as(x) for row in torch.eye(5)])
    assert torch.allclose(value, x @ matrix.T)
    assert torch.allclose(trace, matrix.trace().expand(8), atol=1e-5)
    many = torch.randn(4000, 5)
    _, estimated = with_divergence(lambda x: x @ matrix.T, many, [torch.randn(4000, 5).sign()])
    spread = float(estimated.std()) / 4000**0.5
    assert float(estimated.mean()) == pytest.approx(float(matrix.trace()), abs=4 * spread)


def test_a_flow_of_points_has_an_exact_density_and_one_of_images_a_bound_for_levels() -> None:
    points = known(FlowMatching, velocity_of_gaussian)
    assert (points.likelihood_kind, points.likelihood_of) == ("exact", "density")
    x = torch.randn(6, *POINT)
    with torch.no_grad():  # as evaluators call it
        assert torch.allclose(points.log_likelihood(points.observe(x)), log_gaussian(x, MEAN, DEVIATION), atol=2e-3)
    images = known(FlowMatching, velocity_of_gaussian, (1, 4, 4))
    assert (images.likelihood_kind, images.likelihood_of) == ("estimate", "dequantized")
    image = torch.randint(0, 256, (6, 1, 4, 4)) / 255
    rng.seed(0)
    observed = images.observe(image)
    rng.seed(0)
    assert torch.equal(observed, dequantize(image))
    # the density of 256 x: y = 2 x − 1 is Gaussian, and a level has the width 2/256 in y
    expected = log_gaussian(2 * observed - 1, MEAN, DEVIATION) + 16 * math.log(2 / 256)
    assert torch.allclose(images.log_likelihood(observed), expected, atol=0.01)


def test_the_protocol_names_the_solver_and_that_the_class_is_not_given() -> None:
    for conditional, without in ((False, {}), (True, {"class": "none"})):
        evaluator = LogLikelihood()
        evaluator.note(known(FlowMatching, conditional=conditional), torch.zeros(2, *POINT), changed=False)
        found = evaluator.protocol()
        expected = {"kind": "exact", "solver": "rk4", "steps": 25, **without}
        assert {key: found[key] for key in found if key in ("kind", "solver", "steps", "class")} == expected


def test_a_flow_that_always_saw_the_class_has_no_likelihood_without_it() -> None:
    with pytest.raises(ConfigError, match=r"log p\(x\) needs .* key model.label_dropout; train with"):
        LogLikelihood().check(known(FlowMatching, conditional=True, label_dropout=0.0), None)


def test_the_likelihood_of_a_network_with_attention_is_finite() -> None:
    for network in (
        {"name": "dit", "width": 16, "layers": 1, "heads": 2},
        {"name": "adm_unet", "channels": [8], "blocks": 1},
    ):
        model = known(FlowMatching, None, (1, 8, 8), network=network)
        model.likelihood_steps = 2  # type: ignore[misc]
        assert model.log_likelihood(torch.rand(2, 1, 8, 8)).isfinite().all()

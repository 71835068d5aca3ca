"""Real NVP: inverses, log-determinants against autograd, a density that integrates to 1, bits per dimension."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.likelihood.log_likelihood import LogLikelihood
from genlab.models.flows.realnvp import Coupling, RealNVP
from genlab.nn.losses.dequantization import centered, dequantize, from_logit, per_level, quantize, to_logit
from tests.support.evaluated import MemorySplit

NETWORK = {"name": "coupling_resnet", "channels": 4, "blocks": 1}
SHAPES = [((1, 8, 8), 3), ((3, 4, 6), 2), ((1, 5, 3), 1), ((2, 1, 1), 1), ((1, 1, 1), 1), ((3, 1, 1), 1)]


def realnvp(shape: tuple[int, int, int], scales: int = 1, spread: float = 0.3) -> RealNVP:
    """A small flow that is far from the identity."""
    torch.manual_seed(0)
    model = RealNVP(shape, NETWORK, scales=scales, couplings=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, spread)
    return model.eval()


def data(shape: tuple[int, int, int], n: int = 2) -> Tensor:
    return torch.randn(n, *shape) if shape[1:] == (1, 1) else 0.1 + 0.8 * torch.rand(n, *shape)


@pytest.mark.parametrize(("shape", "scales"), SHAPES, ids=str)
def test_the_inverse_undoes_the_transform(shape: tuple[int, int, int], scales: int) -> None:
    model, x = realnvp(shape, scales), data(shape, 5)
    with torch.no_grad():
        z, _ = model.transform(x)
        assert z.shape == (5, math.prod(shape))
        torch.testing.assert_close(model.inverse(z), x, atol=1e-3, rtol=1e-3)
        if model.of_points:  # images are clamped to [0, 1]
            code = model.prior(4)
            torch.testing.assert_close(model.transform(model.inverse(code))[0], code, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("shape", "scales"), SHAPES, ids=str)
def test_the_log_determinant_is_that_of_autograds_jacobian(shape: tuple[int, int, int], scales: int) -> None:
    model, x = realnvp(shape, scales), data(shape, 1)
    size = math.prod(shape)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.transform(x)[0][0], x)
    expected = torch.linalg.slogdet(jacobian.reshape(size, size).double()).logabsdet
    torch.testing.assert_close(model.transform(x)[1][0].double().detach(), expected, atol=1e-3, rtol=1e-4)


def test_a_coupling_keeps_its_masked_half() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([1.0, 0]).view(2, 1, 1)
    coupling = Coupling({"name": "mlp", "hidden": [5], "activation": "tanh"}, mask)
    x = torch.randn(3, 2, 1, 1)
    y, log_det = coupling(x)
    assert torch.equal(y[:, 0], x[:, 0])
    slope = torch.autograd.functional.jacobian(lambda x: coupling(x)[0].sum(0), x)[1, 0, 0, :, 1].flatten()
    torch.testing.assert_close(slope.log(), log_det)


def test_the_density_of_points_integrates_to_one() -> None:
    model = realnvp((2, 1, 1), spread=0.2)
    axis = torch.linspace(-15, 15, 601)
    grid = torch.cartesian_prod(axis, axis)[:, :, None, None]
    with torch.no_grad():
        total = model.log_likelihood(grid).double().exp().sum() * float(axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-2)


def test_an_identity_flow_has_the_density_of_the_logistic_normal() -> None:
    """All couplings are the identity at first: log p(x) is a normal's at logit(α + (1 − 2α)x), times the slope."""
    model = RealNVP((1, 4, 4), NETWORK, scales=2, couplings=1, alpha=0.1)
    x = torch.rand(3, 1, 4, 4)
    logit = torch.distributions.SigmoidTransform().inv
    chain = torch.distributions.ComposeTransform([torch.distributions.AffineTransform(0.1, 0.8), logit])
    base = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    y = chain(x)
    expected = (base.log_prob(y) + chain.log_abs_det_jacobian(x, y)).sum((1, 2, 3)) - 16 * math.log(256)
    torch.testing.assert_close(model.log_likelihood(x), expected, atol=1e-3, rtol=1e-5)


def test_dequantized_levels_stay_in_their_bins() -> None:
    image = torch.arange(256).float().div(255).view(1, 1, 16, 16).expand(20, -1, -1, -1)
    rng.seed(0)
    x = dequantize(image)
    assert (x >= 0).all()
    assert (x < 1).all()
    assert torch.equal((x * 256).floor(), (image * 255).round())
    torch.testing.assert_close(quantize(x), image)
    torch.testing.assert_close(quantize(centered(image)), image)
    y, _ = to_logit(x, 0.05)
    torch.testing.assert_close(from_logit(y, 0.05), x, atol=1e-5, rtol=1e-5)
    slope = torch.autograd.functional.jacobian(lambda x: to_logit(x, 0.05)[0].flatten(), x[:1, :, :1, :3])
    torch.testing.assert_close(to_logit(x[:1, :, :1, :3], 0.05)[1][0], slope.view(3, 3).diagonal().log().sum())
    assert float(per_level(torch.zeros(1), 16)) == pytest.approx(-16 * math.log(256))


def protocol_and_values(model: RealNVP, data: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    evaluator = LogLikelihood()
    rng.seed(0)
    with torch.no_grad():
        values = dict(evaluator.run(model, MemorySplit(data)))  # type: ignore[arg-type]
    return evaluator.protocol(), values


def test_the_evaluator_says_that_images_have_a_bound_and_points_an_exact_density() -> None:
    protocol, values = protocol_and_values(realnvp((1, 8, 8), 2), torch.rand(6, 1, 8, 8))
    assert protocol["kind"] == "bound"
    assert values["bits_per_dim"] == pytest.approx(values["nll"] / 64 / math.log(2), rel=1e-6)
    points = torch.randn(6, 2, 1, 1)
    model = realnvp((2, 1, 1))
    protocol, values = protocol_and_values(model, points)
    assert protocol["kind"] == "exact"
    assert "density" in protocol["nll"]
    assert values["nll"] == pytest.approx(-float(model.log_likelihood(points).detach().mean()), rel=1e-5)
    assert "bits_per_dim" not in values


def test_sides_must_halve_evenly() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.size=12"):
        RealNVP((1, 13, 13), NETWORK, scales=3)

"""What a code is charged for: against torch.distributions, brute-force Jacobians and plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.distributions import Bernoulli, kl_divergence

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.nn.losses.penalties import KeepLargest, jacobian_norm, kl_to_rate, sigmoid_jacobian_norm
from genlab.registry import PENALTIES


def one_layer() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Sigmoid())


def deep(out: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, out))


def by_brute_force(encoder: nn.Module, image: Tensor) -> Tensor:
    """‖∂h/∂x‖² of each image, from its whole Jacobian."""
    return torch.stack([jacobian(encoder, x[None], create_graph=True).square().sum() for x in image])


def test_kl_to_a_rate_is_that_of_bernoulli_units() -> None:
    mean = torch.tensor([0.01, 0.05, 0.4, 0.999])
    expected = kl_divergence(Bernoulli(torch.tensor(0.05)), Bernoulli(mean)).sum()
    torch.testing.assert_close(kl_to_rate(mean, 0.05), expected)
    assert kl_to_rate(torch.tensor([0.0, 1.0]), 0.05).isfinite()


def test_the_jacobian_of_a_sigmoid_layer_in_closed_form() -> None:
    encoder, image = one_layer(), torch.rand(4, 1, 3, 4)
    layer = encoder[1]
    assert isinstance(layer, nn.Linear)
    exact = sigmoid_jacobian_norm(encoder(image), layer.weight)
    torch.testing.assert_close(exact, by_brute_force(encoder, image))


def test_the_estimate_is_exact_for_one_number_and_so_is_its_gradient() -> None:
    encoder, image = deep(1), torch.rand(4, 1, 3, 4)  # a sign squared is 1
    estimate, exact = jacobian_norm(encoder, image), by_brute_force(encoder, image)
    torch.testing.assert_close(estimate, exact)
    parameters = list(encoder.parameters())[:3]
    for a, b in zip(
        torch.autograd.grad(estimate.sum(), parameters), torch.autograd.grad(exact.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_the_estimate_is_unbiased() -> None:
    encoder, image = deep(6), torch.rand(3, 1, 3, 4)
    rng.seed(0)
    with torch.no_grad():
        estimate = jacobian_norm(encoder, image, probes=4000)
    torch.testing.assert_close(estimate, by_brute_force(encoder, image).detach(), rtol=0.05, atol=0)


def test_the_estimate_does_not_need_gradients_to_be_on() -> None:
    encoder, image = deep(6), torch.rand(3, 1, 3, 4)
    rng.seed(0)
    learning = jacobian_norm(encoder, image, probes=2)
    rng.seed(0)
    with torch.no_grad():
        evaluated = jacobian_norm(encoder, image, probes=2)
    assert learning.requires_grad
    assert not evaluated.requires_grad
    torch.testing.assert_close(learning.detach(), evaluated)


@pytest.mark.parametrize("estimate", ["exact", "hutchinson"])
def test_contraction_stays_in_full_precision(estimate: str) -> None:
    encoder, image = one_layer(), torch.rand(4, 1, 3, 4)
    penalty = PENALTIES.build({"name": "contractive", "estimate": estimate}, encoder=encoder)
    rng.seed(0)
    plain = penalty(encoder, image, encoder(image))
    with torch.autocast("cpu", torch.bfloat16):
        rng.seed(0)
        half = penalty(encoder, image, encoder(image))
    assert torch.equal(plain, half)


def test_an_encoder_that_mixes_the_images_of_a_batch_has_no_jacobian() -> None:
    encoder = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), nn.Flatten(), nn.Linear(2, 5))
    with pytest.raises(ConfigError, match=r"batch norm.*model\.network\.norm=none"):
        PENALTIES.build({"name": "contractive", "estimate": "hutchinson"}, encoder=encoder)


def test_sparse_l1_is_the_mean_sum_of_sizes() -> None:
    code = torch.tensor([[1.0, -2.0], [0.0, 0.5]])
    penalty = PENALTIES.build({"name": "sparse", "kind": "l1"}, encoder=deep(2))
    assert float(penalty(deep(2), torch.empty(0), code)) == pytest.approx(1.75)


def test_only_the_largest_stay_and_learn() -> None:
    code = torch.tensor([[3.0, -1.0, 2.0, 0.5], [-4.0, -3.0, -2.0, -1.0]], requires_grad=True)
    kept = KeepLargest(2)(code)
    assert kept.tolist() == [[3, 0, 2, 0], [0, 0, -2, -1]]
    kept.sum().backward()
    assert code.grad is not None
    assert code.grad.tolist() == [[1, 0, 1, 0], [0, 0, 1, 1]]
    assert torch.equal(KeepLargest(9)(code), code)


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ({"name": "sparse", "kind": "kl"}, "model.code=sigmoid"),
        ({"name": "contractive", "estimate": "exact"}, "model.penalty.estimate=hutchinson"),
    ],
)
def test_a_penalty_that_does_not_fit_the_encoder_is_refused(spec: dict[str, str], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        PENALTIES.build(spec, encoder=deep(3))

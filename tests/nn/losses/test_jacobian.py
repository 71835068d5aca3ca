"""Norms of an encoder's Jacobian against brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from genlab.core import rng
from genlab.nn.losses.jacobian import estimated_jacobian_norm, sigmoid_jacobian_norm


def one_layer() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Sigmoid())


def deep(out: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, out))


def by_brute_force(encoder: nn.Module, image: Tensor) -> Tensor:
    """‖∂h/∂x‖² of each image, from its whole Jacobian."""
    return torch.stack([jacobian(encoder, x[None], create_graph=True).square().sum() for x in image])


def test_a_sigmoid_layer_in_closed_form() -> None:
    encoder, image = one_layer(), torch.rand(4, 1, 3, 4)
    torch.testing.assert_close(sigmoid_jacobian_norm(encoder, image), by_brute_force(encoder, image))


def test_the_estimate_is_exact_for_one_number_and_so_is_its_gradient() -> None:
    encoder, image = deep(1), torch.rand(4, 1, 3, 4)  # a sign squared is 1
    estimate, exact = estimated_jacobian_norm(encoder, image), by_brute_force(encoder, image)
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
        estimate = estimated_jacobian_norm(encoder, image, probes=4000)
    torch.testing.assert_close(estimate, by_brute_force(encoder, image).detach(), rtol=0.05, atol=0)


def test_the_estimate_does_not_need_gradients_to_be_on() -> None:
    encoder, image = deep(6), torch.rand(3, 1, 3, 4)
    rng.seed(0)
    learning = estimated_jacobian_norm(encoder, image, probes=2)
    rng.seed(0)
    with torch.no_grad():
        evaluated = estimated_jacobian_norm(encoder, image, probes=2)
    assert learning.requires_grad
    assert not evaluated.requires_grad
    torch.testing.assert_close(learning.detach(), evaluated)


@pytest.mark.parametrize("norm", [sigmoid_jacobian_norm, estimated_jacobian_norm])
def test_norms_stay_in_full_precision(norm: Callable[..., Any]) -> None:
    encoder, image = one_layer(), torch.rand(4, 1, 3, 4)
    rng.seed(0)
    plain = norm(encoder, image)
    with torch.autocast("cpu", torch.bfloat16):
        rng.seed(0)
        assert torch.equal(plain, norm(encoder, image))

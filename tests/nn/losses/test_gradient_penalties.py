"""A critic's gradient with respect to its images: closed forms, and a second derivative."""

from __future__ import annotations

import torch

from genlab.nn.losses.gradient_penalties import gradient_norm, logits_and_gradient, squared_gradient


def test_the_gradient_of_a_quadratic_critic_is_its_closed_form_and_differentiable() -> None:
    a = torch.tensor(3.0, requires_grad=True)
    x = torch.randn(4, 2, 3, 3)
    found = squared_gradient(lambda image: 0.5 * a * image.square().flatten(1).sum(1), x)
    torch.testing.assert_close(found, 9 * x.square().flatten(1).sum(1))
    [slope] = torch.autograd.grad(found.sum(), a)
    torch.testing.assert_close(slope, 2 * a.detach() * x.square().sum())


def test_it_works_where_gradients_are_off_and_in_half_precision() -> None:
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(18, 1))
    x = torch.randn(5, 2, 3, 3)
    weight = critic[1].weight.detach().reshape(1, 2, 3, 3)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = logits_and_gradient(critic, x)[1]
    torch.testing.assert_close(found, weight.expand_as(x), rtol=0, atol=0)  # bfloat16 would round it


def test_the_norms_slope_at_zero_is_finite() -> None:
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    torch.nn.init.zeros_(critic[1].weight)
    gradient_norm(critic, torch.randn(3, 1, 2, 2)).sum().backward()
    assert critic[1].weight.grad is not None
    assert critic[1].weight.grad.isfinite().all()

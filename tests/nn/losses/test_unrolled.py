"""Consensus optimization and unrolling against brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.core import rng
from genlab.nn.losses.unrolled import differentiable, discriminator_loss, field_energy, unrolled, with_weights
from tests.support.models import gan


class Duel(nn.Module):
    """Two scalars: L_1 = ax² + bxy, L_2 = cy² − bxy."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            self.one.weight.fill_(0.7)
            self.two.weight.fill_(-1.1)

    @property
    def x(self) -> Tensor:
        return self.one.weight.sum()

    @property
    def y(self) -> Tensor:
        return self.two.weight.sum()

    def losses(self) -> tuple[Tensor, Tensor]:
        return 0.5 * self.x**2 + 2 * self.x * self.y, 1.5 * self.y**2 - 2 * self.x * self.y


@pytest.mark.parametrize("moving", [0, 1])
def test_the_fields_energy_and_its_gradient_are_those_of_brute_force(moving: int) -> None:
    duel = Duel()
    (duel.two, duel.one)[moving].requires_grad_(False)
    energy = field_energy(duel, duel.losses, (duel.one, duel.two))
    x, y = torch.tensor(0.7, requires_grad=True), torch.tensor(-1.1, requires_grad=True)
    expected = 0.5 * ((x + 2 * y) ** 2 + (3 * y - 2 * x) ** 2)  # v = (∂L₁/∂x, ∂L₂/∂y)
    torch.testing.assert_close(energy, expected)
    energy.backward()
    slope = torch.autograd.grad(expected, (x, y)[moving])[0]
    found = (duel.one, duel.two)[moving].weight.grad
    assert found is not None
    torch.testing.assert_close(found.sum(), slope)
    assert (duel.two, duel.one)[moving].weight.grad is None


def test_consensus_is_added_to_both_losses() -> None:
    model, bare = gan({"consensus": {"weight": 2.0}}), gan()
    drawn = model.shared_forward(torch.rand(4, 1, 4, 4))
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            added = []
            for regularized, plain in zip(model.phases(), bare.phases(), strict=True):
                rng.seed(5)
                added.append(regularized.objective(*drawn)["loss"] - plain.objective(*drawn)["loss"])
            assert added[0].item() > 0
            torch.testing.assert_close(*added)


def test_unrolling_is_explicit_gradient_descent_and_is_differentiated_through() -> None:
    """D's loss ½(y − x)²: after k steps of η, y_k = x + (1 − η)^k (y − x), and dy_k/dx = 1 − (1 − η)^k."""
    follower, x = nn.Linear(1, 1, bias=False).requires_grad_(False), torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        follower.weight.fill_(5.0)
    weights = unrolled(follower, lambda: 0.5 * (follower.weight.sum() - x) ** 2, 3, 0.1, True)
    shrunk = 0.9**3
    torch.testing.assert_close(weights["weight"].sum(), torch.tensor(2 + shrunk * 3))
    [slope] = torch.autograd.grad(weights["weight"].sum(), x)
    torch.testing.assert_close(slope, torch.tensor(1 - shrunk))
    assert float(follower.weight) == 5.0  # itself, it has not moved


@pytest.mark.parametrize("loss", ["minimax", "non_saturating", "wasserstein"])
def test_the_unrolled_generator_loss_is_that_against_the_updated_discriminator(loss: str) -> None:
    """If the losses add up to 0, it is minus the discriminator's loss, real images included."""
    model, twin = gan({"unroll": {"steps": 2, "rate": 0.5}}, loss=loss), gan(loss=loss)
    real, fake = model.shared_forward(torch.rand(4, 1, 4, 4))
    generator_loss = model.phases()[1].objective
    found = generator_loss(real, fake)["loss"]
    twin.load_state_dict(model.state_dict())
    for _ in range(2):
        gradients = torch.autograd.grad(
            discriminator_loss(twin, real, fake.detach()), list(twin.discriminator.parameters())
        )
        with torch.no_grad():
            for p, g in zip(twin.discriminator.parameters(), gradients, strict=True):
                p -= 0.5 * g
    wanted = -discriminator_loss(twin, real, fake)
    if loss == "non_saturating":  # −log D(G(z)) in place of log(1 − D(G(z)))
        logit = twin.discriminator_logits(fake)
        wanted = wanted + softplus(-logit).mean() + softplus(logit).mean()
    torch.testing.assert_close(found, wanted)
    with torch.no_grad():
        torch.testing.assert_close(generator_loss(real, fake)["loss"], found)
    assert not torch.equal(
        *(torch.autograd.grad(value, fake, retain_graph=True)[0] for value in (found, wanted))
    )  # the way by which its images move the discriminator counts


def test_swapped_weights_are_put_back() -> None:
    layer, x = nn.Linear(2, 1), torch.ones(1, 2)
    before = layer(x)
    zeros = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    assert float(with_weights(layer, zeros, layer, x)) == 0
    torch.testing.assert_close(layer(x), before)
    assert differentiable(layer)["weight"] is layer.weight

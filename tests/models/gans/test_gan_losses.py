"""The six pairs of losses against closed forms and torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.errors import ConfigError
from genlab.models.gans.gan import GAN
from genlab.nn.losses.adversarial import GAN_LOSSES

REAL, FAKE = torch.tensor([[1.5], [-0.5], [3.0]]), torch.tensor([[-2.0], [0.25], [1.0]])


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def mse(logits: Tensor, target: float) -> Tensor:
    return 0.5 * F.mse_loss(logits, torch.full_like(logits, target))


def expected() -> dict[str, tuple[Tensor, Tensor]]:
    both = bce(REAL, 1) + bce(FAKE, 0)
    return {
        "non_saturating": (both, bce(FAKE, 1)),
        "minimax": (both, -bce(FAKE, 0)),
        "least_squares": (mse(REAL, 1) + mse(FAKE, 0), mse(FAKE, 1)),
        # by hand: max(0, 1 − x) is 0, 1.5, 0; max(0, 1 + x) is 0, 1.25, 2
        "hinge": (torch.tensor(1.5 / 3 + 3.25 / 3), torch.tensor(0.75 / 3)),
        "wasserstein": (torch.tensor(-0.75 / 3 - 4.0 / 3), torch.tensor(0.75 / 3)),
        "relativistic": (bce(REAL - FAKE, 1), bce(FAKE - REAL, 1)),
    }


@pytest.mark.parametrize("name", list(GAN_LOSSES))
def test_losses_are_their_closed_forms(name: str) -> None:
    loss_pair = GAN_LOSSES[name]  # type: ignore[index]
    discriminator, generator = expected()[name]
    torch.testing.assert_close(loss_pair.discriminator(REAL, FAKE), discriminator)
    torch.testing.assert_close(loss_pair.generator(FAKE, REAL), generator)
    assert loss_pair.discriminator(REAL.half(), FAKE.half()).dtype == torch.float32


@pytest.mark.parametrize(("name", "loss"), [("non_saturating", bce), ("minimax", bce), ("least_squares", mse)])
def test_smoothing_moves_the_target_of_real_images_alone(name: str, loss: object) -> None:
    loss_pair = GAN_LOSSES[name]  # type: ignore[index]
    assert loss_pair.smoothing is not None
    found = loss_pair.discriminator(REAL, FAKE) + loss_pair.smoothing(REAL, 0.1)
    torch.testing.assert_close(found, loss(REAL, 0.9) + loss(FAKE, 0))  # type: ignore[operator]


@pytest.mark.parametrize("name", list(GAN_LOSSES))
def test_no_other_logit_costs_less_where_nothing_can_be_told(name: str) -> None:
    loss_pair, alike = GAN_LOSSES[name], torch.ones(3, 1)  # type: ignore[index]
    least = loss_pair.discriminator(loss_pair.indifferent * alike, loss_pair.indifferent * alike)
    for other in torch.linspace(-2, 2, 41):
        assert loss_pair.discriminator(other * alike, other * alike) >= least - 1e-6


def gan(loss: str, **changes: object) -> GAN:
    nets = {"name": "mlp", "hidden": [4]}
    return GAN((1, 2, 2), nets, nets, latent_dim=3, loss=loss, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["hinge", "wasserstein", "relativistic"])
def test_a_game_without_targets_refuses_smoothing(loss: str) -> None:
    with pytest.raises(ConfigError, match=r"no target for real images.*model\.loss=non_saturating"):
        gan(loss, regularizers={"smoothing": {}})


def test_the_model_uses_what_it_is_given() -> None:
    model = gan("least_squares", regularizers={"smoothing": {"amount": 0.2}})
    torch.testing.assert_close(model.gan_loss.discriminator(REAL, FAKE), mse(REAL, 0.8) + mse(FAKE, 0))


def test_a_relative_generator_looks_at_the_real_images_too() -> None:
    model = gan("relativistic")
    real, fake = model.shared_forward(torch.rand(3, 1, 2, 2))
    on_real, on_fake = model.discriminator(real), model.discriminator(fake)
    torch.testing.assert_close(model.generator_loss(real, fake)["loss"], F.softplus(on_real - on_fake).mean())

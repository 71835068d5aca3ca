"""GAN: phases, the images of each loss, the cost of a step, and the losses of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.config.compose import compose
from genlab.core import rng
from genlab.models.gans.gan import GAN

SHAPE = (1, 8, 8)
CONFIGS = Path(__file__).parents[3] / "configs"


def gan(**changes: Any) -> GAN:
    torch.manual_seed(0)
    return GAN(
        SHAPE,
        {"name": "dcgan_generator", "base_channels": 4},
        {"name": "dcgan_discriminator", "base_channels": 4},
        latent_dim=6,
        **changes,
    )


def calls(module: nn.Module) -> list[Tensor]:
    """Every input that the module is given from now on."""
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    return seen


def test_the_discriminator_is_updated_first_then_the_generator() -> None:
    model = gan()
    assert [(p.name, p.module) for p in model.phases()] == [
        ("discriminator", model.discriminator),
        ("generator", model.generator),
    ]


def test_a_step_costs_one_generator_pass_and_three_of_the_discriminator() -> None:
    model, image = gan(), torch.rand(5, *SHAPE)
    generated, classified = calls(model.generator), calls(model.discriminator)
    drawn = model.shared_forward(image)
    for phase in model.phases():
        phase.objective(*drawn)["loss"].backward()
    assert len(generated) == 1
    assert [len(batch) for batch in classified] == [5, 5, 5]  # real and fake apart, then the fakes again
    torch.testing.assert_close(classified[0], 2 * image - 1)
    assert torch.equal(classified[1], classified[2])
    assert classified[1].abs().max() <= 1
    assert classified[1].min() < 0


def test_the_discriminators_loss_leaves_the_generator_alone() -> None:
    model = gan()
    discriminate, generate = model.phases()
    drawn = model.shared_forward(torch.rand(5, *SHAPE))
    discriminate.objective(*drawn)["loss"].backward()
    assert all(p.grad is None for p in model.generator.parameters())
    model.discriminator.requires_grad_(False)  # as the loop does in the generator's phase
    model.zero_grad(set_to_none=True)
    generate.objective(*drawn)["loss"].backward()
    assert all(p.grad is None for p in model.discriminator.parameters())
    assert all(p.grad is not None for p in model.generator.parameters())


@pytest.mark.parametrize("loss", ["non_saturating", "minimax"])
def test_losses_are_those_of_the_paper(loss: Any) -> None:
    model = gan(loss=loss).eval()
    real, fake = model.shared_forward(torch.rand(5, *SHAPE))
    d_real, d_fake = model.discriminator(real).sigmoid(), model.discriminator(fake).sigmoid()
    values = model.discriminator_loss(real, fake)
    torch.testing.assert_close(values["loss"], -(d_real.log() + (1 - d_fake).log()).mean())
    torch.testing.assert_close(values["real_probability"], d_real.mean())
    torch.testing.assert_close(values["fake_probability"], d_fake.mean())
    expected = -d_fake.log().mean() if loss == "non_saturating" else (1 - d_fake).log().mean()
    torch.testing.assert_close(model.generator_loss(real, fake)["loss"], expected)


def test_the_prior_is_the_one_asked_for() -> None:
    rng.seed(0)
    uniform, normal = gan(prior="uniform").prior(4000), gan(prior="normal").prior(4000)
    assert uniform.shape == (4000, 6)
    assert uniform.min() >= -1
    assert uniform.max() < 1
    assert uniform.var().item() == pytest.approx(1 / 3, rel=0.03)
    assert normal.abs().max() > 2
    assert normal.var().item() == pytest.approx(1, rel=0.05)


def test_samples_are_the_fakes_in_the_unit_interval() -> None:
    model, image = gan().eval(), torch.rand(5, *SHAPE)
    rng.seed(2)
    _, fake = model.shared_forward(image)
    rng.seed(2)
    torch.testing.assert_close(model.sample(5), (fake + 1) / 2)


def test_a_few_steps_reduce_both_losses() -> None:
    """Each loss falls while the other network is frozen: the signs are right."""
    image = (torch.rand(16, *SHAPE) > 0.5).float()
    for index in (0, 1):
        rng.seed(1)
        model = gan()
        phase = model.phases()[index]
        assert phase.module is not None
        optimizer = torch.optim.Adam(phase.module.parameters(), 5e-3)
        losses = []
        for _ in range(30):
            rng.seed(1)
            loss = phase.objective(*model.shared_forward(image))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 0.005


def test_dcgan_brings_its_optimizer_and_the_command_line_wins() -> None:
    ours = compose(["model=dcgan"]).config
    assert "optimizer" not in ours["model"]
    assert (ours["optimizer"]["lr"], ours["optimizer"]["betas"]) == (2e-4, [0.5, 0.999])
    assert compose(["model=dcgan", "optimizer=sgd"]).config["optimizer"]["name"] == "sgd"
    assert compose(["model=dcgan", "optimizer.lr=1e-3"]).config["optimizer"]["lr"] == 1e-3


def test_how_much_is_augmented_is_logged() -> None:
    model = gan(augment={"name": "ada", "start": 0.25})
    said = model.discriminator_loss(*model.shared_forward(torch.rand(4, *SHAPE)))
    assert abs(float(said["ada_p"]) - 0.25) < 1e-3  # a step of 4 images of 500,000

"""Progressive growing: fades at 0 and 1, the schedule, what a level trains, and that samples follow it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from genlab.checkpoint import manager
from genlab.core import rng
from genlab.core.model import generator_every
from genlab.engine.phase_state import PhaseState
from genlab.errors import ConfigError
from genlab.models.gans.progressive_gan import ProgressiveGAN
from genlab.nn.layers.stylegan2_layers import EqualConv2d
from genlab.nn.networks.gans.progressive import ProgressiveDiscriminator, ProgressiveGenerator, pixel_norm, twice
from tests.support.trainers import MakeTrainer

SMALL = {"channel_base": 64, "channel_max": 6}
G, D = {"name": "progressive_generator", **SMALL}, {"name": "progressive_discriminator", **SMALL}
SHAPE = (1, 32, 32)  # four levels: 4, 8, 16 and 32 pixels
ZERO, ONE = torch.zeros(()), torch.ones(())


def growing(progress: float = 1.0, **changes: Any) -> ProgressiveGAN:
    rng.seed(0)
    model = ProgressiveGAN(SHAPE, generator=G, discriminator=D, latent_dim=5, loss="wasserstein", **changes)
    model.progress.fill_(progress)
    return model


def images(n: int = 4) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_a_level_at_0_is_the_enlarged_level_below_and_at_1_its_own() -> None:
    rng.seed(0)
    network, code = ProgressiveGenerator(5, SHAPE, **SMALL), rng.normal(3, 5, like=ZERO)
    lower, upper = network(code, [None, None]), network(code, [None, None, None])
    assert (lower.shape[2:], upper.shape[2:]) == ((8, 8), (16, 16))
    torch.testing.assert_close(network(code, [None, None, ZERO]), twice(lower))
    torch.testing.assert_close(network(code, [None, None, ONE]), upper)
    torch.testing.assert_close(network(code, [None, None, 0.3 * ONE]), 0.7 * twice(lower) + 0.3 * upper)
    torch.testing.assert_close(network(code), network(code, [None] * 4))


def test_a_discriminator_that_fades_sees_the_halved_image_at_first() -> None:
    rng.seed(0)
    network, image = ProgressiveDiscriminator(SHAPE, 1, **SMALL), avg_pool2d(images(), 2)
    at_zero, at_one = network(image, [None, None, ZERO]), network(image, [None, None, ONE])
    torch.testing.assert_close(at_zero, network(avg_pool2d(image, 2), [None, None]))
    torch.testing.assert_close(at_one, network(image, [None, None, None]))
    assert not torch.allclose(at_zero, at_one)
    torch.testing.assert_close(network(images()), network(images(), [None] * 4))


def test_equalized_layers_are_plain_layers_of_scaled_weights() -> None:
    """He's constant at run time: the weights have unit variance, and all of them the same learning rate."""
    rng.seed(0)
    layer = EqualConv2d(6, 40, 3)
    assert layer.weight.std().item() == pytest.approx(1, abs=0.05)
    x = rng.normal(2, 6, 5, 5, like=ZERO)
    scaled = layer.weight / math.sqrt(6 * 9)
    torch.testing.assert_close(layer(x), torch.conv2d(x, scaled, layer.bias, padding=1))
    [gradient] = torch.autograd.grad(layer(x).sum(), layer.weight)
    plain = scaled.detach().requires_grad_()
    [expected] = torch.autograd.grad(torch.conv2d(x, plain, layer.bias, padding=1).sum(), plain)
    torch.testing.assert_close(gradient, expected / math.sqrt(6 * 9))


def test_pixel_norm_leaves_a_mean_square_of_1_at_each_position() -> None:
    x = 7 * torch.randn(2, 8, 3, 3)
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(2, 3, 3))
    torch.testing.assert_close(pixel_norm(x), pixel_norm(3 * x))


@pytest.mark.parametrize("total", [1, 7, 100, 3501])
@pytest.mark.parametrize("growth", [0.0, 0.35, 1.0])
def test_every_step_trains_one_level_and_levels_only_rise(total: int, growth: float) -> None:
    phases = [PhaseState(phase, [], None, None) for phase in growing(growth=growth).phases()]
    seen = [[phase.name for phase in phases if phase.due(step, total)] for step in range(total)]
    sides = []
    for names in seen:
        [side] = {name.rpartition("_")[2] for name in names}
        assert names == [f"discriminator_{side}", f"generator_{side}"]
        sides.append(int(side))
    assert sides == sorted(sides)
    if total > 10:
        assert sorted(set(sides)) == {0.0: [32], 0.35: [4, 8, 16, 32], 1.0: [4, 8, 16]}[growth]


def test_a_level_fades_in_over_the_first_part_of_its_window() -> None:
    model = growing(growth=0.6, fade=0.5)  # windows of 0.2, fades of 0.1
    expected = {0.2: 0.0, 0.25: 0.5, 0.3: 1.0, 0.39: 1.0}
    for progress, alpha in expected.items():
        model.progress.fill_(progress)
        assert model.alpha(1).item() == pytest.approx(alpha, abs=1e-5)
        assert model.alpha(2).item() == 0
    model.progress.fill_(0.65)
    assert model.alpha(3).item() == pytest.approx(0.5, abs=1e-5)
    model.progress.fill_(1.0)
    assert [model.alpha(level).item() for level in (1, 2, 3)] == [1, 1, 1]
    assert [phase.window for phase in model.phases()[::2]] == [
        pytest.approx(window) for window in ((0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1))
    ]


@pytest.mark.parametrize(("progress", "level", "alpha"), [(0.1, 0, 1.0), (0.25, 1, 0.5), (0.35, 1, 1.0), (0.6, 3, 0.0)])
def test_samples_and_logits_are_those_of_the_level_reached(progress: float, level: int, alpha: float) -> None:
    model = growing(progress, growth=0.6).eval()
    code = model.prior(4)
    reached = model.generator(code, model.fades(level, torch.tensor(alpha))).tanh()
    enlarged = reached.repeat_interleave(32 // reached.shape[2], 2).repeat_interleave(32 // reached.shape[3], 3)
    torch.testing.assert_close(model.decode(code), (enlarged + 1) / 2, rtol=1e-4, atol=1e-5)
    assert model.sample(2).shape == (2, *SHAPE)  # the size does not change
    real = model.to_input(images())
    small = model.shrunk(real, level, ONE)
    expected = model.discriminator_logits(small, torch.tensor(alpha))
    torch.testing.assert_close(model.discriminator_logits(real), expected, rtol=1e-4, atol=1e-5)


def test_real_images_are_as_coarse_as_the_fakes() -> None:
    model, real = growing(), images()
    at_zero, at_one = (model.shrunk(real, 2, alpha) for alpha in (ZERO, ONE))
    torch.testing.assert_close(at_one, avg_pool2d(real, 2))
    torch.testing.assert_close(at_zero, twice(avg_pool2d(real, 4)))
    torch.testing.assert_close(model.shrunk(real, 0, ZERO), avg_pool2d(real, 8))


def test_a_level_leaves_the_layers_above_it_alone() -> None:
    model = growing(0.25, growth=0.6)
    drawn = model.shared_forward(images())
    by_name = {phase.name: phase for phase in model.phases()}
    for phase, network in (("discriminator_8", model.discriminator), ("generator_8", model.generator)):
        model.zero_grad(set_to_none=True)
        by_name[phase].objective(*drawn)["loss"].backward()
        touched = {name for name, p in network.named_parameters() if p.grad is not None}
        assert {name for name in touched if name.startswith("images")} == {
            f"images.{level}.{kind}" for level in (0, 1) for kind in ("weight", "bias")
        }
        assert {name.split(".")[1] for name in touched if name.startswith("blocks")} == {"0"}


def test_the_loss_is_the_critics_with_drift() -> None:
    model = growing(growth=0.6, drift=0.5)
    real, fake = (2 * torch.rand(2, 4, 1, 8, 8, generator=torch.Generator().manual_seed(3)) - 1).unbind(0)
    on_real, on_fake = (model.discriminator_logits(each, ONE) for each in (real, fake))
    found = model.discriminator_loss(real, fake, ONE)["loss"]
    torch.testing.assert_close(found, on_fake.mean() - on_real.mean() + 0.5 * on_real.square().mean())
    penalized = growing(growth=0.6, drift=0.5, regularizers={"gradient_penalty": {"weight": 2.0}})
    drawn = penalized.shared_forward(images())
    values = penalized.phases()[2].objective(*drawn)
    assert values["gradient_penalty"] > 0  # at the size of the level


def test_diagnoses_wait_for_a_generator_that_moves_rarely() -> None:
    assert generator_every(growing(critic_steps=3)) == 3


@pytest.mark.parametrize("steps", [3, 6])  # of 10: the first level, and the second one fading in
def test_a_model_loaded_from_a_checkpoint_is_as_far_as_it_was(make_trainer: MakeTrainer, steps: int) -> None:
    trainer = make_trainer("progressive_gan", "trainer.steps=10", "trainer.ema_decay=0.9")
    for _ in range(steps):
        trainer.train_step()
    assert trainer.average is not None
    tensors, structure = manager.pack(trainer.objects())
    for weights, live in (("model", trainer.model), ("ema", trainer.average.model)):
        loaded = make_trainer("progressive_gan").model
        manager.unpack({weights: loaded}, tensors, {weights: structure[weights]})
        assert isinstance(loaded, ProgressiveGAN)
        assert isinstance(live, ProgressiveGAN)
        code = loaded.prior(3)
        assert torch.equal(loaded.eval().decode(code), live.eval().decode(code))
        loaded.progress.fill_(1.0)
        assert not torch.allclose(loaded.decode(code), live.decode(code))  # fully grown, it differs


def test_networks_that_cannot_grow_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.discriminator\.name; use progressive_discriminator"):
        ProgressiveGAN(SHAPE, generator=G, discriminator={"name": "dcgan_discriminator", "base_channels": 2})

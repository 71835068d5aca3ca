"""R3GAN: its loss by hand and against the regularizers, γ over the run, and how its networks begin."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.gan.gan_diagnosis import calmer, sharper, weaker
from genlab.models.gans.gan import GAN
from genlab.models.gans.r3gan import R3GAN
from genlab.nn.layers.stylegan2_layers import Double, Halve
from genlab.nn.networks.gans.r3gan import GAIN, Block, r3gan_discriminator, r3gan_generator

NETS = {"name": "mlp", "hidden": [6], "activation": "tanh"}
SHAPE = (1, 4, 4)


def r3gan(discriminator: dict[str, Any] | None = None, **changes: Any) -> R3GAN:
    torch.manual_seed(0)
    return R3GAN(
        SHAPE, generator=NETS, discriminator=discriminator or NETS, latent_dim=3, loss="relativistic", **changes
    )


def images() -> Tensor:
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_the_loss_of_a_linear_discriminator_is_known() -> None:
    """D(x) = w·x + b: ∇D = w everywhere, so both penalties are ½|w|², with the gradient w."""
    model = r3gan({"name": "mlp", "hidden": []}, gamma=0.8, final_gamma=1.0)
    linear = next(layer for layer in model.discriminator if isinstance(layer, nn.Linear))
    w, b = linear.weight.detach()[0], linear.bias.detach()
    real, fake = (each.detach() for each in model.shared_forward(images()))
    found = model.discriminator_loss(real, fake)
    x, y = real.flatten(1), fake.flatten(1)
    margin = (y - x) @ w
    pairs = (1 + margin.exp()).log().mean()
    torch.testing.assert_close(found["r1"], 0.5 * w.square().sum())
    torch.testing.assert_close(found["r2"], 0.5 * w.square().sum())
    torch.testing.assert_close(found["loss"], pairs + 0.8 * w.square().sum())  # γ/2 |w|² twice
    by_w, by_b = torch.autograd.grad(found["loss"], [linear.weight, linear.bias])
    expected = (margin.sigmoid()[:, None] * (y - x)).mean(0) + 2 * 0.8 * w
    torch.testing.assert_close(by_w[0], expected)
    torch.testing.assert_close(by_b, torch.zeros_like(b))  # only differences of logits count
    generator = model.generator_loss(real, fake)["loss"]
    torch.testing.assert_close(generator, (1 + (-margin).exp()).log().mean())


def test_it_is_the_relativistic_gan_with_both_penalties() -> None:
    """One forward pass for loss and penalty gives the values and gradients of two."""
    one = r3gan(gamma=0.3, final_gamma=1.0)
    penalties = {name: {"weight": 0.3} for name in ("r1", "r2")}
    other = GAN(SHAPE, NETS, NETS, latent_dim=3, loss="relativistic", regularizers=penalties)
    other.load_state_dict(one.state_dict())
    found = []
    for model in (one, other):
        rng.seed(2)
        discriminator, generator = model.phases()
        drawn = model.shared_forward(images())
        for phase in (discriminator, generator):
            values = phase.objective(*drawn)
            parameters = list(phase.module.parameters())  # type: ignore[union-attr]
            found.append((values, torch.autograd.grad(values["loss"], parameters, retain_graph=True)))
    for (mine, gradients), (theirs, others) in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(gradients, others)


def test_gamma_falls_along_half_a_cosine() -> None:
    model = r3gan(gamma=2.0, final_gamma=0.1)
    for progress, expected in ((0.0, 2.0), (0.25, 2 * (0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)), (0.5, 1.1), (1.0, 0.2)):
        model.progress.fill_(progress)
        assert model.weight().item() == pytest.approx(expected)


def test_penalties_are_asked_for_by_gamma() -> None:
    with pytest.raises(ConfigError, match=r"model\.gamma"):
        r3gan(regularizers={"r1": {"weight": 1.0}})
    model = r3gan(gamma=2.0)
    assert (weaker(model), calmer(model), sharper(model)) == ("model.gamma=4", "model.gamma=20", "model.gamma=0.2")


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 20)])
def test_at_first_each_block_is_the_identity(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    generator = r3gan_generator(5, shape, base_channels=24, max_channels=48, blocks=2)
    discriminator = r3gan_discriminator(shape, 2, base_channels=24, max_channels=48, blocks=2)
    assert discriminator(torch.randn(3, *shape)).shape == (3, 2)
    assert generator(torch.randn(3, 5)).shape == (3, *shape)
    blocks = [layer for layer in generator if isinstance(layer, Block)]
    assert len(blocks) == 2 * (4 if shape[1] == 32 else 3)
    x = torch.randn(2, 24, 8, 8)
    torch.testing.assert_close(blocks[-1](x), x)


def test_a_blocks_layers_are_grouped_and_scaled_by_their_number() -> None:
    torch.manual_seed(0)
    _, _, grouped, _, last = Block(64, 2, 16, depth=16).residual
    assert isinstance(grouped, nn.Conv2d)
    assert grouped.groups == 8  # 128 channels, 16 in each
    assert grouped.weight.std().item() == pytest.approx(GAIN / 2 / math.sqrt(16 * 9), rel=0.02)  # 16^(-1/4) = 1/2
    assert not last.weight.any()
    assert Block(7, 2, 4, depth=1).residual[2].groups == 2  # 14 channels are not three groups of equal size


def test_resampling_is_bilinear_inside_the_map() -> None:
    x = torch.randn(1, 2, 6, 8)
    expected = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(Double()(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
    y = torch.randn(1, 2, 12, 16)
    torch.testing.assert_close((Double()(x) * y).sum(), 4 * (x * Halve()(y)).sum())  # its transpose
    flat = Halve()(torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(flat[..., 1:-1, 1:-1], torch.ones(1, 1, 2, 2))

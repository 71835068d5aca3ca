"""StyleGAN2: its penalties against brute force, its moving averages, mixing, truncation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import MixesStyles
from genlab.models.gans.stylegan2 import PATH_EVERY, PATH_RATE, R1_EVERY, W_RATE, StyleGAN2

SMALL = {"latent_dim": 6, "mapping_layers": 1, "channel_base": 64, "channel_max": 6}


def small(**keys: Any) -> StyleGAN2:
    rng.seed(0)
    return StyleGAN2((1, 8, 8), **{**SMALL, **keys})


def images(n: int = 4) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_r1_is_half_gamma_times_the_squared_gradient_and_counts_for_its_sixteen_steps() -> None:
    model = small(r1=3.0)
    real = 2 * images() - 1
    said = model.r1_loss(real, real)
    x = real.clone().requires_grad_()
    rows = [torch.autograd.grad(model.discriminator_logits(x).sum(), x, retain_graph=True)[0]]
    expected = 3.0 / 2 * R1_EVERY * rows[0].flatten(1).square().sum(1).mean()
    torch.testing.assert_close(said["loss"], expected)
    weight = model.discriminator.hidden.weight
    [found] = torch.autograd.grad(said["loss"], weight)
    step = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))

    def at(offset: float) -> Tensor:
        with torch.no_grad():
            weight.add_(offset * step)
            loss = model.r1_loss(real, real)["loss"]
            weight.sub_(offset * step)
        return loss

    difference = (at(1e-2) - at(-1e-2)) / 2e-2
    assert (found * step).sum().item() == pytest.approx(difference.item(), rel=0.02)


def test_path_lengths_are_those_of_the_jacobian() -> None:
    model = small(mixing=0.0).eval()
    real = images()
    rng.seed(5)
    said = model.path_loss(real, real)
    rng.seed(5)
    styles = model.mixed(2)

    def draw(w: Tensor) -> Tensor:
        rng.seed(5)
        model.mixed(2)  # so that the layers' noise is the same
        return model.generator.synthesis(w)

    rng.seed(5)
    model.mixed(2)
    model.generator.synthesis(styles)
    y = rng.normal(2, 1, 8, 8, like=styles) / 8
    jacobian = torch.autograd.functional.jacobian(draw, styles.detach())  # (2, 1, 8, 8, 2, L, D)
    assert isinstance(jacobian, Tensor)
    lengths = [
        (jacobian[i, ..., i, :, :] * y[i][..., None, None]).sum((0, 1, 2)).square().sum(1).mean().sqrt() for i in (0, 1)
    ]
    torch.testing.assert_close(said["length"], torch.stack(lengths).mean(), rtol=1e-4, atol=1e-6)
    expected = 2.0 * PATH_EVERY * torch.stack([length.square() for length in lengths]).mean()  # a is 0 still
    torch.testing.assert_close(said["loss"], expected, rtol=1e-4, atol=1e-6)


def test_the_path_length_and_the_mean_style_follow_in_training_only() -> None:
    model = small()
    real = images()
    model.eval()
    model.path_loss(*model.shared_forward(real))
    assert model.path_length == 0
    assert not model.generator.mean_style.any()
    model.train()
    rng.seed(1)
    first = model.generator.mapping(model.prior(4))
    rng.seed(1)
    drawn = model.shared_forward(real)
    torch.testing.assert_close(model.generator.mean_style, W_RATE * first.mean(0).detach())
    length = model.path_loss(*drawn)["length"]
    torch.testing.assert_close(model.path_length, PATH_RATE * length)


def test_styles_are_mixed_at_one_layer_of_most_images() -> None:
    model = StyleGAN2((1, 32, 32), **SMALL)
    rng.seed(0)
    styles = model.mixed(2000)
    changes = (styles[:, 1:] != styles[:, :-1]).any(2).sum(1)
    assert set(changes.tolist()) == {0, 1}
    assert changes.float().mean().item() == pytest.approx(0.9, abs=0.03)
    where = (styles[:, 1:] != styles[:, :-1]).any(2).float().sum(0) / 2000
    assert (where - 0.9 / 7).abs().max() < 0.03  # any layer but the first as likely
    model.mixing = 0.0
    styles = model.mixed(5)
    assert torch.equal(styles, styles[:, :1].expand_as(styles))


def test_truncation_draws_styles_to_their_mean() -> None:
    model = small().eval()
    model.generator.mean_style.copy_(torch.randn(6))
    code = model.prior(5)
    whole, half = model.styles(code), model.styles(code, 0.5)
    mean = model.generator.mean_style
    torch.testing.assert_close(half - mean, 0.5 * (whole - mean))
    assert torch.equal(model.styles(code, 0.0)[0], model.styles(code, 0.0)[1])
    rng.seed(3)
    assert model.sample(3, truncation=0.5).shape == (3, 1, 8, 8)
    assert isinstance(model, MixesStyles)
    assert torch.equal(
        model.decode(code), model.render(model.styles(code))
    )  # no noise of its own: walks do not flicker


def test_without_penalties_there_are_two_phases() -> None:
    names = [phase.name for phase in small(r1=0.0, path_weight=0.0).phases()]
    assert names == ["discriminator", "generator"]

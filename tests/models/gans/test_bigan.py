"""BiGAN and ALI: the pairs, the exchanged loss, which network each phase trains, the penalty on pairs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.config import compose
from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.gans.bigan import BiGAN, PairDiscriminator
from genlab.registry import MODELS
from genlab.workflows.build import load_registry

SHAPE = (1, 4, 4)
NETS = {"name": "mlp", "hidden": [6], "activation": "tanh"}


def bigan(**changes: Any) -> BiGAN:
    torch.manual_seed(0)
    return BiGAN(SHAPE, NETS, NETS, NETS, NETS, **{"feature_dim": 5, "latent_dim": 3, **changes})


def images() -> Tensor:
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_the_discriminator_sees_an_image_with_its_code_and_a_code_with_its_image() -> None:
    model = bigan()
    rng.seed(3)
    x, code, fake, z = drawn = model.shared_forward(images())
    rng.seed(3)
    prior = model.prior(5)
    assert -1 <= prior.min() < 0 < prior.max() < 1
    torch.testing.assert_close(z, prior)
    torch.testing.assert_close(x, 2 * images() - 1)
    torch.testing.assert_close(code, model.encoder(x))
    torch.testing.assert_close(fake, model.generator(z).tanh())
    on_real, on_fake = (model.discriminator(*pair).sigmoid() for pair in ((x, code), (fake, z)))
    discriminator, inverse = (phase.objective(*drawn)["loss"] for phase in model.phases())
    torch.testing.assert_close(discriminator, -(on_real.log().mean() + (1 - on_fake).log().mean()))
    torch.testing.assert_close(inverse, -(on_fake.log().mean() + (1 - on_real).log().mean()))


def test_each_phase_trains_its_own_networks_alone() -> None:
    model = bigan(r1=0.5)
    drawn = model.shared_forward(images())
    reached = []
    for phase in model.phases():
        model.zero_grad(set_to_none=True)
        phase.objective(*drawn)["loss"].backward(retain_graph=True)
        reached.append({name for name, each in model.named_children() if any(_moves(p) for p in each.parameters())})
    # the loop takes gradients of the phase's module alone: here the second one also reaches the discriminator
    assert reached == [{"discriminator"}, {"encoder", "generator", "discriminator"}]
    first, second = (phase.module for phase in model.phases())
    assert first is model.discriminator
    assert list(second.children()) == [model.generator, model.encoder]  # type: ignore[union-attr]


def _moves(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def test_the_code_counts_as_much_as_the_image() -> None:
    """With a discriminator that is linear, R1 on pairs is half the squared norm of its weights on both."""
    model = bigan(r1=2.0)
    image, code = nn.Linear(16, 1, bias=False), nn.Linear(4, 1, bias=False)
    model.discriminator = PairDiscriminator(nn.Sequential(nn.Flatten(), image), code, SHAPE)
    with torch.no_grad():  # leaky ReLU between them is the identity where it is positive
        image.weight.abs_()
        drawn = (torch.ones(5, *SHAPE), *model.shared_forward(images())[1:])
    found = model.discriminator_loss(*drawn)
    by_features, by_code = code.weight[0, 0], code.weight[0, 1:]
    expected = 0.5 * ((by_features * image.weight).square().sum() + by_code.square().sum())
    torch.testing.assert_close(found["r1"], expected.detach())
    model.r1 = 0.0
    plain = model.discriminator_loss(*drawn)
    assert "r1" not in plain
    torch.testing.assert_close(found["loss"], plain["loss"] + 2.0 * expected)


@pytest.mark.parametrize("name", ["bigan", "ali"])
def test_the_penalty_of_the_yaml_is_of_each_pairs_own_gradient(name: str) -> None:
    """A pair's logit does not depend on the other pairs of its batch, as R1 assumes."""
    load_registry()
    spec = compose.compose([f"model={name}"]).config["model"]
    assert spec["r1"] > 0
    for network in ("encoder", "generator", "discriminator"):
        spec[network]["base_channels"] = 2
    model = MODELS.build({key: spec[key] for key in spec if key != "optimizer"}, "model", image_shape=(1, 16, 16))
    x, code, *_ = model.shared_forward(torch.rand(4, 1, 16, 16))
    torch.testing.assert_close(model.discriminator(x, code)[:2], model.discriminator(x[:2], code[:2]))


def test_a_stochastic_encoder_is_a_gaussian_whose_mean_is_the_code() -> None:
    model = bigan(stochastic=True, prior="normal")
    x = model.to_input(images())
    mean, log_variance = model.encoder(x).chunk(2, dim=1)
    torch.testing.assert_close(model.encode(images()), mean)
    rng.seed(4)
    found = torch.stack([model.code(x) for _ in range(4000)])
    torch.testing.assert_close(found.mean(0), mean, atol=0.08, rtol=0)
    torch.testing.assert_close(found.var(0), log_variance.exp(), atol=0, rtol=0.15)
    [by_bias] = torch.autograd.grad(model.code(x).sum(), model.encoder[-1].bias)
    assert by_bias[3:].all()  # the scale learns through the sample


def test_a_reconstruction_is_the_image_of_the_code() -> None:
    model = bigan()
    code = model.encode(images())
    assert code.shape == (5, 3)
    torch.testing.assert_close(model.reconstruct(images()), model.decode(code))
    points = bigan(output="linear")
    torch.testing.assert_close(points.decode(code), points.generator(code))


@pytest.mark.parametrize("loss", ["minimax", "hinge"])
def test_losses_that_are_others_when_pairs_are_exchanged_are_refused(loss: str) -> None:
    spec = {"name": "bigan", "loss": loss, **dict.fromkeys(("encoder", "generator", "discriminator", "joint"), NETS)}
    with pytest.raises(ConfigError, match=rf"{loss}.*model\.loss.*least_squares"):
        MODELS.build(spec, "model", image_shape=SHAPE)

"""Each regularizer on a critic whose gradient is known: values, bounds, gradients by brute force, where it acts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.gans.gan import GAN
from genlab.nn.losses.gradient_penalties import between
from genlab.nn.losses.regularizers import Clip, InstanceNoise, Pack, Regularizers
from genlab.registry import REGULARIZERS, Registry
from tests.support.models import gan

W = torch.tensor([[0.6, 0.0, 0.8, 2.0]])


def linear(x: Tensor) -> Tensor:
    """A critic whose gradient is W everywhere: ‖∇D‖² = 5."""
    return x.flatten(1) @ W.t()


def quadratic(x: Tensor) -> Tensor:
    """½‖x‖², whose gradient is x."""
    return 0.5 * x.flatten(1).square().sum(1, keepdim=True)


def penalty(name: str, critic: Any, real: Tensor, fake: Tensor, progress: float = 0.0) -> Tensor:
    return Regularizers({name: {}}).penalties[name](critic, real, fake, torch.tensor(progress))


def losses(model: GAN, *shared: Tensor) -> dict[str, Tensor]:
    """The values of the discriminator's phase."""
    return model.phases()[0].objective(*shared)


# ---------------------------------------------------------------------- penalties


def test_penalties_of_a_quadratic_critic_are_their_closed_forms() -> None:
    real, fake = torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2)
    size_real, size_fake = (x.flatten(1).square().sum(1) for x in (real, fake))
    torch.testing.assert_close(penalty("r1", quadratic, real, fake), 0.5 * size_real.mean())
    torch.testing.assert_close(penalty("r2", quadratic, real, fake), 0.5 * size_fake.mean())
    phi_real, phi_fake = (0.5 * size_real).sigmoid(), (0.5 * size_fake).sigmoid()
    roth = 0.5 * ((1 - phi_real) ** 2 * size_real).mean() + 0.5 * (phi_fake**2 * size_fake).mean()
    torch.testing.assert_close(penalty("roth", quadratic, real, fake), roth)


def test_roth_anneals() -> None:
    real, fake = torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2)
    start, half, end = (penalty("roth", linear, real, fake, t) for t in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half / start, torch.tensor(0.1))
    torch.testing.assert_close(end / start, torch.tensor(0.01))


def test_the_gradient_penalty_is_the_distance_of_the_norm_from_1() -> None:
    real, fake = torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2)
    found = penalty("gradient_penalty", linear, real, fake)
    torch.testing.assert_close(found, torch.tensor((math.sqrt(5) - 1) ** 2))


def test_points_between_are_on_the_line_of_each_pair() -> None:
    real, fake = torch.randn(6, 2, 3, 3), torch.randn(6, 2, 3, 3)
    share = ((between(real, fake) - fake) / (real - fake)).flatten(1)
    assert (share.amax(1) - share.amin(1)).max() < 1e-3
    assert ((share > -1e-4) & (share < 1 + 1e-4)).all()
    assert share[:, 0].unique().numel() == 6


def test_a_penaltys_gradient_reaches_the_discriminator_and_is_that_of_finite_differences() -> None:
    model = gan().double()
    real, fake = torch.randn(3, 1, 4, 4).double(), torch.randn(3, 1, 4, 4).double()
    weight = model.discriminator[1].weight  # type: ignore[index]

    def value() -> Tensor:  # squared_gradient computes in float32; so does the comparison below by its step
        x = real.clone().requires_grad_()
        [gradient] = torch.autograd.grad(model.discriminator_logits(x).sum(), x, create_graph=True)
        return 0.5 * gradient.flatten(1).square().sum(1).mean()

    [slope] = torch.autograd.grad(value(), weight)
    [found] = torch.autograd.grad(penalty("r1", model.float().discriminator_logits, real.float(), fake.float()), weight)
    torch.testing.assert_close(found.double(), slope.double(), rtol=1e-4, atol=1e-7)


def test_a_lazy_penalty_is_a_phase_of_its_own_and_as_heavy() -> None:
    eager, lazy = gan({"r1": {"weight": 3.0}}), gan({"r1": {"weight": 3.0, "every": 4}})
    bare = gan()
    drawn = eager.shared_forward(torch.rand(5, 1, 4, 4))
    value = losses(eager, *drawn)["r1"]
    torch.testing.assert_close(losses(eager, *drawn)["loss"], losses(bare, *drawn)["loss"] + 3 * value)
    torch.testing.assert_close(losses(lazy, *drawn)["loss"], losses(bare, *drawn)["loss"])
    phase = lazy.phases()[1]
    assert (phase.name, phase.module is lazy.discriminator, phase.every) == ("r1", True, 4)
    torch.testing.assert_close(phase.objective(*drawn)["loss"], 4 * 3 * value)


def test_a_penalty_leaves_the_generator_alone() -> None:
    model = gan({"r2": {}, "gradient_penalty": {}})
    losses(model, *model.shared_forward(torch.rand(5, 1, 4, 4)))["loss"].backward()
    assert all(p.grad is None for p in model.generator.parameters())


def test_a_penalty_is_in_float32_under_autocast() -> None:
    model = gan({"r1": {}})
    drawn = model.shared_forward(torch.rand(5, 1, 4, 4))
    exact = losses(model, *drawn)["r1"]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(losses(model, *drawn)["r1"], exact, rtol=0, atol=0)


def test_batch_norm_has_no_gradient_of_its_own() -> None:
    nets = {"name": "dcgan_generator", "base_channels": 2}, {"name": "dcgan_discriminator", "base_channels": 2}
    with pytest.raises(ConfigError, match=r"model\.discriminator\.norm=none"):
        GAN((1, 16, 16), *nets, regularizers={"gradient_penalty": {}})
    GAN((1, 16, 16), nets[0], {**nets[1], "norm": "layer"}, regularizers={"gradient_penalty": {}})


# ---------------------------------------------------------------------- what the discriminator sees


def test_instance_noise_falls_to_nothing() -> None:
    rng.seed(0)
    images = torch.zeros(50, 1, 8, 8)
    for progress, expected in ((0.0, 0.3), (0.5, 0.15), (1.0, 0.0)):
        seen = InstanceNoise(0.3)(images, torch.tensor(progress))
        assert seen.std().item() == pytest.approx(expected, rel=0.05)
    assert InstanceNoise(0.3, anneal=False)(images, torch.tensor(1.0)).std().item() == pytest.approx(0.3, rel=0.05)


def test_both_kinds_are_seen_through_noise_by_both_players() -> None:
    rng.seed(0)
    model = gan({"instance_noise": {"sigma": 1.0}})
    seen: list[Tensor] = []
    model.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.progress.fill_(0.0)
    real, fake = model.shared_forward(torch.rand(200, 1, 4, 4))
    losses(model, real, fake)
    model.generator_loss(real, fake)
    assert [round(float((each - x).detach().std()), 1) for each, x in zip(seen, (real, fake, fake), strict=True)] == [
        1,
        1,
        1,
    ]


def test_packs_are_consecutive_rows_along_channels() -> None:
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 2, 1, 1)
    assert Pack(3)(images)[:, :, 0, 0].tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]
    assert Pack(4)(images)[1, :, 0, 0].tolist() == [4, 4, 5, 5, 0, 0, 1, 1]  # filled from the first


@pytest.mark.parametrize("size", [2, 3])
def test_a_packed_discriminator_classifies_packs(size: int) -> None:
    model = gan({"pack": {"size": size}, "r1": {}})
    assert model.discriminator[1].in_features == size * 16  # type: ignore[index]
    real, fake = model.shared_forward(torch.rand(6, 1, 4, 4))
    assert (real.shape, fake.shape) == ((6, 1, 4, 4), (6, 1, 4, 4))
    assert model.discriminator_logits(real).shape == (6 // size, 1)
    packs = real.reshape(6 // size, size, 4, 4).clone().requires_grad_()  # R1 of what it sees, a pack at a time
    [gradient] = torch.autograd.grad(model.discriminator(packs).sum(), packs)
    expected = 0.5 * gradient.flatten(1).square().sum(1).mean()
    torch.testing.assert_close(losses(model, real, fake)["r1"], expected)


# ---------------------------------------------------------------------- clipping


def test_clipping_keeps_weights_within_the_bound_and_says_how_many_stand_there() -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[5.0, -5.0], [0.001, -0.002]]))
        layer.bias.copy_(torch.tensor([0.01, 0.0]))
    fraction = Clip(0.01)(layer)["fraction"]
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.01, -0.01], [0.001, -0.002]]))
    assert float(fraction) == pytest.approx(3 / 6)


def test_the_critic_is_clipped_before_the_generator_moves_and_only_in_training() -> None:
    model = gan({"clip": {"bound": 0.02}}, loss="wasserstein")
    assert [phase.name for phase in model.phases()] == ["discriminator", "clip", "generator"]
    clip, drawn = model.phases()[1], model.shared_forward(torch.rand(2, 1, 4, 4))
    before = [p.clone() for p in model.discriminator.parameters()]
    model.eval()
    clip.objective(*drawn)
    assert all(torch.equal(a, b) for a, b in zip(before, model.discriminator.parameters(), strict=True))
    model.train()
    clip.objective(*drawn)
    assert max(float(p.detach().abs().max()) for p in model.discriminator.parameters()) == pytest.approx(0.02)


# ---------------------------------------------------------------------- as configured


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ({"r3": {}}, "unknown regularizer 'r3'; key model.regularizers.r3"),
        ({"r1": {"wieght": 1}}, "unknown key 'model.regularizers.r1.wieght'.*did you mean 'weight'"),
        ({"pack": {"size": 1}}, r"bad value 1 for 'model\.regularizers\.pack\.size'"),
        ({"instance_noise": {"sigma": -1}}, r"model\.regularizers\.instance_noise\.sigma"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_built(specs: dict[str, Any], said: str) -> None:
    registry = Registry("model", runtime=("image_shape",))
    registry("gan")(GAN)
    nets = {"name": "mlp", "hidden": [4]}
    with pytest.raises(ConfigError, match=said):
        registry.check({"name": "gan", "generator": nets, "discriminator": nets, "regularizers": specs}, "model")


def test_a_regularizer_that_would_act_on_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGULARIZERS._entries, "mine", type("Mine", (), {}))
    with pytest.raises(ConfigError, match=r"regularizer 'mine' \(Mine\) acts on nothing; key model.regularizers.mine"):
        Regularizers({"mine": {}})


@pytest.mark.parametrize("name", ["r1", "instance_noise"])
def test_a_subclass_rules_out_any_regularizer(name: str) -> None:
    model = gan({name: {}})
    model.incompatible = {"r1": "so it is", "instance_noise": "so it is", "r2": "not in use"}
    with pytest.raises(ConfigError, match=f"GAN cannot use '{name}': so it is; key model.regularizers.{name}"):
        model.regularizers.check(model)


def test_null_switches_one_off() -> None:
    assert Regularizers({"r1": None, "r2": {}}).penalties.keys() == {"r2"}

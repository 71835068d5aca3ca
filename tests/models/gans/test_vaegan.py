"""VAE-GAN: the three losses, the gradients of each phase, and the measures of sharpness."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.distribution.sharpness import Sharpness, detail, edges
from genlab.models.gans.vaegan import VAEGAN, feature_nll
from genlab.nn.layers.stages import cut, shape_of
from genlab.nn.losses.divergences import kl_standard_normal
from tests.support.evaluated import MemorySplit

SHAPE = (1, 16, 16)
E, G = {"name": "dcgan_discriminator", "base_channels": 4}, {"name": "dcgan_generator", "base_channels": 4}


def vaegan(**changes: Any) -> VAEGAN:
    torch.manual_seed(0)
    return VAEGAN(SHAPE, E, G, E, **{"latent_dim": 5, "gamma": 0.3, "beta": 0.5, **changes})


def test_each_loss_is_its_part_of_algorithm_1() -> None:
    model = vaegan(feature_stage=1).eval()
    x, mean, log_variance, rebuilt = drawn = model.shared_forward(torch.rand(3, *SHAPE))
    first, rest = cut(model.discriminator, "", 1)
    likeness = 0.5 * (first(x) - first(rebuilt)).square().flatten(1).sum(1).mean()

    values = model.encoder_loss(*drawn)
    kl = kl_standard_normal(mean, log_variance).mean()
    torch.testing.assert_close(values["loss"], 0.5 * kl + likeness)

    rng.seed(4)
    values = model.discriminator_loss(*drawn)
    rng.seed(4)
    fake = model.generate(model.prior(3))
    on_real, on_rebuilt, on_fake = (rest(first(each)).sigmoid() for each in (x, rebuilt, fake))
    game = -on_real.log() - 0.5 * (1 - on_rebuilt).log() - 0.5 * (1 - on_fake).log()
    torch.testing.assert_close(values["loss"], game.mean())

    rng.seed(5)
    values = model.decoder_loss(*drawn)
    rng.seed(5)
    again, fake = model.generate(model.sampled(mean, log_variance)), model.generate(model.prior(3))
    fooled = -0.5 * rest(first(again)).sigmoid().log() - 0.5 * rest(first(fake)).sigmoid().log()
    likeness = 0.5 * (first(x) - first(again)).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(values["loss"], 0.3 * likeness + fooled.mean())


def test_each_phase_has_gradients_in_its_own_module_alone() -> None:
    """With the others frozen, as the loop has them, a phase's gradients reach its own module and no other."""
    model = vaegan()
    drawn = model.shared_forward(torch.rand(3, *SHAPE))
    for phase in model.phases():
        model.zero_grad(set_to_none=True)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        assert phase.module is not None
        phase.module.requires_grad_(True)
        phase.objective(*drawn)["loss"].backward(retain_graph=True)
        own = {id(parameter) for parameter in phase.module.parameters()}
        assert {id(p) for p in model.parameters() if p.grad is not None} == own


def test_where_features_are_read_nothing_beyond_is_computed() -> None:
    model, passes = vaegan(feature_stage=1), [0]
    drawn = model.shared_forward(torch.rand(3, *SHAPE))
    _, rest = cut(model.discriminator, "", 1)
    rest[0].register_forward_hook(lambda *_: passes.append(passes.pop() + 1))
    model.encoder_loss(*drawn)
    assert passes == [0]  # Dis_l alone: no running statistics of the layers behind it move
    model.decoder_loss(*drawn)
    assert passes == [2]  # of its two kinds of fakes


def test_features_move_together_with_the_image() -> None:
    assert torch.equal(feature_nll(torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 1.0]])), torch.tensor([2.5]))


def test_a_network_is_cut_before_a_layer_with_weights() -> None:
    conv, norm, relu, linear = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Linear(2 * 14 * 14, 3)
    network = nn.Sequential(conv, norm, relu, nn.Conv2d(2, 2, 1), nn.Flatten(), linear)
    assert [len(part) for part in cut(network, "k")] == [5, 1]
    assert [len(part) for part in cut(network, "k", 1)] == [3, 3]
    assert [len(part) for part in cut(network, "k", 9)] == [5, 1]  # as far in as there are stages
    before = norm.running_mean.clone() if norm.running_mean is not None else None
    assert shape_of(cut(network, "k")[0], (1, 16, 16)) == (2 * 14 * 14,)
    assert before is not None
    assert torch.equal(before, norm.running_mean)  # type: ignore[arg-type]
    assert norm.training
    with pytest.raises(ConfigError, match="not a sequence of layers"):
        cut(nn.Sequential(nn.Flatten(), linear), "k")


def test_edges_and_detail_of_waves_that_are_known() -> None:
    column = torch.arange(16.0)
    ramp = (0.02 * column).expand(1, 1, 16, 16)
    assert edges(ramp).item() == pytest.approx(0.02)
    for period, share in ((2, 1.0), (8, 0.0)):  # a cosine's mean square is all above or all below four pixels
        wave = (0.5 + 0.25 * torch.cos(2 * math.pi * column / period)).expand(1, 3, 16, 16)
        power = (wave[0, 0] - 0.5).square().mean().item()
        assert detail(wave).item() == pytest.approx(share * power, abs=1e-6)


class Blurs:
    conditions = ()

    def reconstruct(self, image: Tensor) -> Tensor:
        return image.mean((2, 3), keepdim=True).expand_as(image)

    def sample(self, n: int) -> Tensor:
        return 0.5 * torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_sharpness_is_relative_to_the_real_images() -> None:
    images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    split: Any = MemorySplit(images)
    found = {key: float(value) for key, value in Sharpness(batch_size=20).run(Blurs(), split)}  # type: ignore[arg-type]
    assert found["reconstructions/edges"] == pytest.approx(0, abs=1e-6)
    assert found["reconstructions/detail"] == pytest.approx(0, abs=1e-6)
    assert found["samples/edges"] == pytest.approx(0.5, rel=0.05)
    assert found["samples/detail"] == pytest.approx(0.25, rel=0.1)
    assert found["real_edges"] == pytest.approx(edges(images).mean().item())

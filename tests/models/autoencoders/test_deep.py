"""Greedy layer-wise pre-training: the phases, the loss of a layer, a layer as an RBM."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.autoencoders.deep import DeepAutoencoder
from genlab.nn.layers.boltzmann import contrastive_divergence
from tests.support.models import AUTOENCODER_NETWORK, AUTOENCODER_SHAPE, autoencoder, linears


def deep(pretrain: str, **changes: Any) -> DeepAutoencoder:
    model = autoencoder("deep_ae", pretrain=pretrain, **changes)
    assert isinstance(model, DeepAutoencoder)
    return model


@pytest.mark.parametrize("pretrain", ["autoencoder", "rbm"])
def test_layers_take_turns_before_the_whole(pretrain: str) -> None:
    phases = deep(pretrain, pretrain_fraction=0.6).phases()
    descending = [phase for phase in phases if phase.module is not None]
    assert [phase.name for phase in descending] == ["layer0", "layer1", "layer2", "whole"]
    edges = [edge for phase in descending for edge in phase.window]
    assert edges == pytest.approx([0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 1])
    own = [{id(p) for p in phase.module.parameters()} for phase in descending if phase.module is not None]
    assert not own[0] & own[1]
    assert len(own[3]) == 12


def test_a_layer_learns_the_output_of_the_layers_below() -> None:
    model, image = deep("autoencoder"), torch.rand(4, *AUTOENCODER_SHAPE)
    first, second, _ = linears(model.encoder)
    _, back, _ = linears(model.decoder)
    below = first(image.flatten(1)).sigmoid()
    made = back(second(below).sigmoid()).sigmoid()
    loss = model.layer_loss(1, image)["loss"]
    torch.testing.assert_close(loss, (made - below).square().sum(1).mean())
    loss.backward()
    assert [layer.weight.grad is not None for layer in (first, second)] == [False, True]


def test_a_layer_as_an_rbm() -> None:
    model, image = deep("rbm"), torch.rand(4, *AUTOENCODER_SHAPE)
    assert [model.rbm(i).hidden for i in range(3)] == ["binary", "binary", "gaussian"]
    rbm = model.rbm(1)
    first, second, _ = linears(model.encoder)
    assert rbm.weight is second.weight
    assert rbm.visible_bias is linears(model.decoder)[1].bias
    rng.seed(0)
    value = model.rbm_loss(1, image)["loss"]
    rng.seed(0)
    torch.testing.assert_close(
        value, contrastive_divergence(rbm, first(image.flatten(1)).sigmoid().detach(), mean=True)
    )
    with torch.no_grad():
        assert model.unroll(1, image) == {}
    assert torch.equal(linears(model.decoder)[1].weight, second.weight.t())
    assert deep("rbm", code="sigmoid").rbm(2).hidden == "binary"


def test_tied_rbms_need_no_unrolling() -> None:
    names = [phase.name for phase in deep("rbm", tied=True).phases()]
    assert names == ["layer0", "layer1", "layer2", "whole"]


@pytest.mark.parametrize(
    ("pretrain", "changes", "remedy"),
    [
        ("autoencoder", {"decoder": AUTOENCODER_NETWORK}, "model.pretrain=null"),
        ("rbm", {"network": {**AUTOENCODER_NETWORK, "activation": "relu"}}, "activation=sigmoid"),
    ],
)
def test_networks_that_cannot_be_pretrained_are_refused_in_one_line(
    pretrain: str, changes: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ConfigError, match=remedy) as error:
        deep(pretrain, **changes)
    assert "\n" not in str(error.value)

"""The autoencoder's variants: what is tied, corrupted, charged for and trained first."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.autoencoders.autoencoder import Autoencoder
from genlab.nn.layers.boltzmann import contrastive_divergence
from genlab.registry import MODELS

SHAPE = (1, 6, 6)
NETWORK = {"name": "mlp", "hidden": [7, 5], "activation": "sigmoid"}


def build(**changes: Any) -> Autoencoder:
    torch.manual_seed(0)
    spec = {"name": "autoencoder", "network": NETWORK, "latent_dim": 3, **changes}
    model = MODELS.build(spec, "model", image_shape=SHAPE)
    assert isinstance(model, Autoencoder)
    return model


def linears(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def test_tied_weights_are_the_encoders_transposed() -> None:
    model, image = build(tied=True, output="identity"), torch.rand(4, *SHAPE)
    biases = [parameter for name, parameter in model.decoder.named_parameters()]
    assert [tuple(bias.shape) for bias in biases] == [(5,), (7,), (36,)]  # no weights of its own
    x = model.encoder(image)
    first, second, third = linears(model.encoder)
    x = torch.sigmoid(x @ third.weight + biases[0])
    x = torch.sigmoid(x @ second.weight + biases[1])
    x = x @ first.weight + biases[2]
    torch.testing.assert_close(model.decoder(model.encoder(image)), x.unflatten(1, SHAPE))


def test_a_copy_of_a_tied_model_is_tied_to_itself() -> None:
    model, image = build(tied=True), torch.rand(4, *SHAPE)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        linears(twin.encoder)[0].weight.zero_()
    assert not torch.equal(twin.reconstruct(image), model.reconstruct(image))
    assert twin.decoder(torch.rand(2, 3)).flatten(1).std(0).max() == 0  # its last weights are those zeros


def test_the_spoilt_image_is_held_against_the_clean_one() -> None:
    model = build(corruption={"name": "masking", "amount": 1.0})
    image = torch.rand(4, *SHAPE)
    expected = (model.reconstruct(torch.zeros_like(image)) - image).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(model.loss(image)["squared_error"], expected)


def test_the_loss_is_the_reconstruction_and_the_weighted_penalty() -> None:
    model, image = build(penalty={"name": "sparse", "kind": "l1", "weight": 0.7}), torch.rand(4, *SHAPE)
    values = model.loss(image)
    torch.testing.assert_close(values["loss"], values["reconstruction"] + 0.7 * values["penalty"])
    torch.testing.assert_close(values["penalty"], model.encode(image).abs().sum(1).mean())
    torch.testing.assert_close(values["reconstruction"], values["squared_error"])


def test_k_sparse_codes_have_k_numbers() -> None:
    assert (build(k_sparse=2).encode(torch.rand(4, *SHAPE)) != 0).sum(1).tolist() == [2] * 4


@pytest.mark.parametrize("pretrain", ["autoencoder", "rbm"])
def test_layers_take_turns_before_the_whole(pretrain: str) -> None:
    phases = build(pretrain=pretrain, pretrain_share=0.6).phases()
    descending = [phase for phase in phases if phase.module is not None]
    assert [phase.name for phase in descending] == ["layer0", "layer1", "layer2", "whole"]
    edges = [edge for phase in descending for edge in phase.window]
    assert edges == pytest.approx([0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 1])
    own = [{id(p) for p in phase.module.parameters()} for phase in descending if phase.module is not None]
    assert not own[0] & own[1]
    assert len(own[3]) == 12


def test_a_layer_learns_what_the_layers_below_make_of_the_image() -> None:
    model, image = build(pretrain="autoencoder"), torch.rand(4, *SHAPE)
    first, second, _ = linears(model.encoder)
    _, back, _ = linears(model.decoder)
    below = first(image.flatten(1)).sigmoid()
    made = back(second(below).sigmoid()).sigmoid()
    loss = model.layer_loss(1, image)["loss"]
    torch.testing.assert_close(loss, (made - below).square().sum(1).mean())
    loss.backward()
    assert [layer.weight.grad is not None for layer in (first, second)] == [False, True]


def test_a_layer_as_a_boltzmann_machine() -> None:
    model, image = build(pretrain="rbm"), torch.rand(4, *SHAPE)
    assert [model.machine(i).hidden for i in range(3)] == ["binary", "binary", "gaussian"]
    machine = model.machine(1)
    first, second, _ = linears(model.encoder)
    assert machine.weight is second.weight
    assert machine.visible_bias is linears(model.decoder)[1].bias
    rng.seed(0)
    value = model.machine_loss(1, image)["loss"]
    rng.seed(0)
    torch.testing.assert_close(
        value, contrastive_divergence(machine, first(image.flatten(1)).sigmoid().detach(), mean=True)
    )
    with torch.no_grad():
        assert model.unroll(1, image) == {}
    assert torch.equal(linears(model.decoder)[1].weight, second.weight.t())
    assert build(pretrain="rbm", code="sigmoid").machine(2).hidden == "binary"


def test_tied_machines_need_no_unrolling() -> None:
    names = [phase.name for phase in build(pretrain="rbm", tied=True).phases()]
    assert names == ["layer0", "layer1", "layer2", "whole"]


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"tied": True, "network": {"name": "conv", "channels": [4]}}, "model.tied=false"),
        ({"pretrain": "autoencoder", "decoder": NETWORK}, "model.pretrain=null"),
        ({"pretrain": "rbm", "network": {**NETWORK, "activation": "relu"}}, "activation=sigmoid"),
        ({"corruption": {"name": "masking", "amont": 1}}, "amount"),
        ({"penalty": {"name": "spars"}}, "sparse"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as error:
        build(**changes)
    assert "\n" not in str(error.value)

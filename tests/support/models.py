"""Every YAML of configs/model, composed as Hydra composes it, and shrunk so that the contracts run in seconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from genlab.config.yaml_comments import MODEL_CHOICES
from genlab.core.model import Model, Shape
from genlab.models.autoencoders.autoencoder import Autoencoder
from genlab.models.gans.gan import GAN
from genlab.registry import MODELS, discover

CONFIGS = Path(__file__).parents[2] / "configs"
# no model of pictures: a game of two numbers that both start at 1 and draws no noise; tests/models/test_dirac.py
OTHERS = ("dirac",)
PRESETS = sorted(path.stem for path in (CONFIGS / "model").glob("[!_]*.yaml") if path.stem not in OTHERS)
SHAPES = [(c, h, w) for c in (1, 3) for h, w in ((8, 8), (28, 28), (28, 20), (32, 32), (64, 64))]
LARGE_SHAPES = [(3, 128, 128), (1, 256, 256)]
LISTS = ("hidden", "channels")  # keys whose lists are widths
# keys that are widths, counts or lengths, and what they become
SMALL = {
    "latent_dim": 5, "hidden": 6, "chains": 3, "burn_in": 2, "blocks": 1, "base_channels": 2,
    "residual_channels": 2, "channels": 2, "num_embeddings": 8, "embedding_dim": 3, "layers": 2, "centroids": 6,
    "k": 2, "mapping_layers": 1, "channel_base": 64, "channel_max": 4, "image_pool_size": 3,
}  # fmt: skip


def spec_of(name: str) -> dict[str, Any]:
    """The constructor's keys in configs/model/NAME.yaml and the files that it builds on."""
    own: Any = OmegaConf.load(CONFIGS / "model" / f"{name}.yaml")
    bases = [entry for entry in own.pop("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    merged: Any = OmegaConf.to_container(OmegaConf.merge(*map(spec_of, bases), own))
    return {key: value for key, value in merged.items() if key not in MODEL_CHOICES}


def shrunk(spec: dict[str, Any]) -> dict[str, Any]:
    """The same spec with every width small: shapes, laws and losses stay."""
    small: dict[str, Any] = {}
    for key, value in spec.items():
        if isinstance(value, dict):
            small[key] = shrunk(value)
        elif key in LISTS and isinstance(value, list):
            small[key] = [4 + i for i in range(len(value))]
        else:
            small[key] = SMALL.get(key, value) if value is not None else None
    return small


@pytest.fixture(scope="session", autouse=True)
def _registered() -> None:
    discover()


@pytest.fixture(params=PRESETS)
def preset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def small(preset: str) -> Callable[[Shape], Model]:
    """Builds the preset at a tenth of its size for an image shape."""

    def build(shape: Shape) -> Model:
        return MODELS.build(shrunk(spec_of(preset)), "model", image_shape=shape, num_classes=10)

    return build


def gan(regularizers: dict[str, Any] | None = None, **changes: Any) -> GAN:
    """A GAN of two networks of six units for images of 4 pixels."""
    torch.manual_seed(0)
    nets = {"name": "mlp", "hidden": [6], "activation": "tanh"}
    return GAN((1, 4, 4), nets, nets, latent_dim=3, regularizers=regularizers, **changes)


def states(n: int) -> Tensor:
    """All states of n binary units, (2ⁿ, n)."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


AUTOENCODER_SHAPE = (1, 6, 6)
AUTOENCODER_NETWORK = {"name": "mlp", "hidden": [7, 5], "activation": "sigmoid"}


def autoencoder(name: str = "autoencoder", **changes: Any) -> Autoencoder:
    """The family `name` with a code of three numbers for images of 6x6 pixels."""
    torch.manual_seed(0)
    spec = {"name": name, "network": AUTOENCODER_NETWORK, "latent_dim": 3, **changes}
    model = MODELS.build(spec, "model", image_shape=AUTOENCODER_SHAPE)
    assert isinstance(model, Autoencoder)
    return model


def linears(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]

"""Adversarial autoencoder: which phase updates which network, and the two priors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.autoencoders.aae import AdversarialAutoencoder
from genlab.registry import MODELS
from tests.support.models import shrunk, spec_of


def small(**changes: Any) -> AdversarialAutoencoder:
    model = MODELS.build(shrunk(spec_of("aae")) | changes, "model", image_shape=(1, 8, 8))
    assert isinstance(model, AdversarialAutoencoder)
    return model


def moved(model: AdversarialAutoencoder, phase: str) -> set[str]:
    """The networks that a phase's loss has gradients for."""
    model.zero_grad(set_to_none=True)
    drawn = model.shared_forward(torch.rand(3, 1, 8, 8))
    next(p for p in model.phases() if p.name == phase).objective(*drawn)["loss"].backward()
    return {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}


def test_each_phase_moves_its_own() -> None:
    model = small()
    assert moved(model, "reconstruction") == {"encoder", "decoder"}
    assert moved(model, "discriminator") == {"discriminator"}
    assert moved(model, "encoder") == {"encoder", "discriminator"}  # the engine lets only the encoder take them
    modules = {phase.name: {id(p) for p in phase.module.parameters()} for phase in model.phases() if phase.module}
    assert modules["encoder"] < modules["reconstruction"]
    assert not modules["discriminator"] & modules["reconstruction"]


def test_a_blind_discriminator_costs_two_bits_of_doubt() -> None:
    """Logits of 0 say one half: 2 log 2 for the discriminator, log 2 for the encoder."""
    model = small()
    torch.nn.init.zeros_(model.discriminator[-1].weight)
    torch.nn.init.zeros_(model.discriminator[-1].bias)
    drawn = model.shared_forward(torch.rand(3, 1, 8, 8))
    said = model.discriminator_loss(*drawn)
    assert float(said["loss"].detach()) == pytest.approx(2 * math.log(2))
    assert float(said["code_probability"]) == 0.5
    assert float(model.encoder_loss(*drawn)["loss"].detach()) == pytest.approx(math.log(2))


def test_the_mixture_lies_on_a_ring() -> None:
    rng.seed(0)
    z = small(latent_dim=3, prior="mixture", components=5, radius=2.0).prior(20_000)
    center = 2 * math.pi / 5 * torch.arange(5)
    centers = 2.0 * torch.stack([center.cos(), center.sin()], 1)
    distance, nearest = torch.cdist(z[:, :2], centers).min(1)
    spread = 2.0 * math.sin(math.pi / 5) / 3
    assert torch.allclose(nearest.bincount(minlength=5) / 20_000, torch.full((5,), 0.2), atol=0.015)
    assert float(distance.square().mean()) == pytest.approx(2 * spread**2, rel=0.05)
    assert float(z[:, 2].std()) == pytest.approx(1, abs=0.02)


def test_a_ring_needs_a_plane() -> None:
    with pytest.raises(ConfigError, match=r"model\.latent_dim=2"):
        small(latent_dim=1, prior="mixture")

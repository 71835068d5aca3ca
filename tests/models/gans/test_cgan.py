"""Conditional GANs: how the label reaches each network, the losses, and samples by class."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.image_grids import SamplesGrid
from genlab.models.gans.acgan import ACGAN
from genlab.models.gans.cgan import ConditionalGAN
from genlab.models.gans.projection_gan import ProjectionDiscriminator, ProjectionGAN
from genlab.nn.layers.labels import with_planes
from genlab.registry import NETWORKS
from genlab.reports.grid import class_columns

SHAPE = (1, 8, 8)
CLASSES = 3
G, D = {"name": "dcgan_generator", "base_channels": 4}, {"name": "dcgan_discriminator", "base_channels": 4}
FAMILIES: dict[str, type[ConditionalGAN]] = {"cgan": ConditionalGAN, "projection_gan": ProjectionGAN, "acgan": ACGAN}


def cgan(family: str, **changes: Any) -> ConditionalGAN:
    torch.manual_seed(0)
    return FAMILIES[family](SHAPE, CLASSES, **{"generator": G, "discriminator": D, "latent_dim": 5, **changes})


def test_planes_are_one_for_the_images_own_class() -> None:
    image, label = torch.rand(2, *SHAPE), torch.tensor([2, 0])
    shown = with_planes(image, label, CLASSES)
    assert torch.equal(shown[:, :1], image)
    assert torch.equal(shown[:, 1:], one_hot(label, CLASSES).float()[:, :, None, None].expand(2, 3, 8, 8))


@pytest.mark.parametrize("spec", [D, {"name": "mlp", "hidden": [7, 6]}], ids=lambda spec: spec["name"])
def test_projection_adds_the_product_of_class_and_features(spec: Any) -> None:
    torch.manual_seed(0)
    network = NETWORKS.build(spec, "network", inp=SHAPE, out=1)
    discriminator = ProjectionDiscriminator(network, SHAPE, CLASSES).eval()
    image, label = torch.randn(4, *SHAPE), torch.tensor([0, 1, 2, 1])
    seen: list[Tensor] = []
    last = list(discriminator.network)[-1 if spec["name"] == "mlp" else -2]  # the last layer with weights
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    logits = discriminator(image, label)
    phi = seen[0].flatten(2).sum(2) if seen[0].ndim > 2 else seen[0]
    v = discriminator.embedding.weight
    for i in range(4):  # Miyato & Koyama, eq. 6
        torch.testing.assert_close(logits[i, 0], discriminator.network(image)[i, 0] + v[label[i]] @ phi[i])


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_of_the_class_asked_for(family: str) -> None:
    model = cgan(family)
    model.decode = lambda code, *_: code[:, 5:]  # type: ignore[method-assign]
    assert model.sample(5).argmax(1).tolist() == [0, 1, 2, 0, 1]
    assert model.sample(3, label=2).tolist() == [[0, 0, 1]] * 3


@pytest.mark.parametrize("family", FAMILIES)
def test_fakes_have_the_labels_of_the_batch(family: str) -> None:
    model, image, label = cgan(family).eval(), torch.rand(4, *SHAPE), torch.tensor([1, 1, 0, 2])
    rng.seed(0)
    real, fake, labels = model.shared_forward(image, label)
    rng.seed(0)
    z = model.prior(4)[:, :5]
    expected = model.generator(torch.cat([z, one_hot(label, CLASSES).float()], 1)).tanh()
    torch.testing.assert_close(fake, expected)
    assert torch.equal(labels, label)
    assert real.min() < 0


@pytest.mark.parametrize("family", ["cgan", "projection_gan"])
def test_the_discriminator_depends_on_the_label(family: str) -> None:
    model, images = cgan(family).eval(), torch.randn(4, *SHAPE)
    zero, one = torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    assert not torch.allclose(model.discriminator_logits(images, zero), model.discriminator_logits(images, one))


def test_both_networks_of_an_acgan_minimize_the_class_loss() -> None:
    """Odena et al., eq. 2 and 3, from the network's own outputs."""
    model, label = cgan("acgan", classifier_weight=0.7).eval(), torch.tensor([1, 1, 0, 2])
    real, fake, _ = model.shared_forward(torch.rand(4, *SHAPE), label)
    on_real, on_fake = (model.discriminator(each).double() for each in (real, fake))
    source = -(on_real[:, 0].sigmoid().log() + (1 - on_fake[:, 0].sigmoid()).log()).mean()

    def label_nll(outputs: Tensor) -> Tensor:
        return -outputs[:, 1:].softmax(1).log()[torch.arange(4), label].mean()

    values = model.discriminator_loss(real, fake, label)
    expected = source + 0.7 * (label_nll(on_real) + label_nll(on_fake))
    torch.testing.assert_close(values["loss"].double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(values["fake_label_nll"].double(), label_nll(on_fake), rtol=1e-5, atol=1e-6)
    made = model.generator_loss(real, fake, label)["loss"].double()
    torch.testing.assert_close(
        made, -on_fake[:, 0].sigmoid().log().mean() + 0.7 * label_nll(on_fake), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("family", "regularizer"),
    [
        *itertools.product(FAMILIES, ("r1", "instance_noise")),
        *itertools.product(("cgan", "projection_gan"), ("unroll", "consensus")),
    ],
)
def test_the_regularizers_work_with_labels(family: str, regularizer: str) -> None:
    model, label = cgan(family, regularizers={regularizer: {}}), torch.tensor([1, 1, 0, 2])
    drawn = model.shared_forward(torch.rand(4, *SHAPE), label)
    for phase in model.phases():
        model.zero_grad(set_to_none=True)
        loss = phase.objective(*drawn)["loss"]
        loss.backward(retain_graph=True)
        assert math.isfinite(loss.item())


def test_what_cannot_be_is_refused_in_a_line() -> None:
    with pytest.raises(ConfigError, match="'ProjectionGAN' needs labels"):
        ProjectionGAN(SHAPE, None, generator=G, discriminator=D)
    with pytest.raises(ConfigError, match="'pack': the images of a pack have different labels"):
        cgan("cgan", regularizers={"pack": {}})
    for regularizer in ("unroll", "consensus"):  # whose discriminator's loss is without its classes
        with pytest.raises(
            ConfigError, match=f"'{regularizer}': .* without the class loss.*use model.regularizers.{regularizer}=null"
        ):
            cgan("acgan", regularizers={regularizer: {}})
    with pytest.raises(ConfigError, match="not a sequence of layers"):
        cgan("projection_gan", discriminator={"name": "mlp", "hidden": []})


def test_a_column_of_the_grid_is_a_class() -> None:
    model = cgan("cgan").eval()
    assert class_columns(model, 64) == 6  # each class twice: nearly square
    assert class_columns(model, 2) is None
    ((_, picture),) = SamplesGrid(n=8).run(model, None)
    cell = 2 + 64
    assert picture.pixels.shape == (1, 2 * cell + 2, 3 * cell + 2)  # two whole rows

"""Labels in a GAN: who is told them, by which formula, and what they do to samples."""

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
from genlab.models.gans.cgan import ConditionalGAN
from genlab.nn.layers.labels import with_planes
from genlab.nn.networks.conditional import Projection
from genlab.reports.grid import class_columns

SHAPE = (1, 8, 8)
CLASSES = 3
G, D = {"name": "dcgan_generator", "width": 4}, {"name": "dcgan_discriminator", "width": 4}
CONDITIONS = ("concat", "projection", "classifier")


def cgan(condition: Any, **changes: Any) -> ConditionalGAN:
    torch.manual_seed(0)
    return ConditionalGAN(SHAPE, CLASSES, G, D, condition, **{"latent_dim": 5, **changes})


def test_planes_are_one_for_the_images_own_class() -> None:
    image, label = torch.rand(2, *SHAPE), torch.tensor([2, 0])
    told = with_planes(image, label, CLASSES)
    assert torch.equal(told[:, :1], image)
    assert torch.equal(told[:, 1:], one_hot(label, CLASSES).float()[:, :, None, None].expand(2, 3, 8, 8))


@pytest.mark.parametrize("spec", [D, {"name": "mlp", "hidden": [7, 6]}], ids=lambda spec: spec["name"])
def test_projection_adds_the_product_of_class_and_features(spec: Any) -> None:
    torch.manual_seed(0)
    judge = Projection(spec, SHAPE, CLASSES).eval()
    image, label = torch.randn(4, *SHAPE), torch.tensor([0, 1, 2, 1])
    seen: list[Tensor] = []
    last = list(judge.network)[-1 if spec["name"] == "mlp" else -2]  # the last layer with weights
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    logits = judge(image, label)
    phi = seen[0].flatten(2).sum(2) if seen[0].ndim > 2 else seen[0]
    v = judge.embedding.weight
    for i in range(4):  # Miyato & Koyama, eq. 6
        torch.testing.assert_close(logits[i, 0], judge.network(image)[i, 0] + v[label[i]] @ phi[i])


@pytest.mark.parametrize("condition", CONDITIONS)
def test_samples_are_of_the_class_asked_for(condition: str) -> None:
    model = cgan(condition)
    model.decode = lambda code, *_: code[:, 5:]  # type: ignore[method-assign]
    assert model.sample(5).argmax(1).tolist() == [0, 1, 2, 0, 1]
    assert model.sample(3, label=2).tolist() == [[0, 0, 1]] * 3


@pytest.mark.parametrize("condition", CONDITIONS)
def test_fakes_have_the_labels_of_the_batch(condition: str) -> None:
    model, image, label = cgan(condition).eval(), torch.rand(4, *SHAPE), torch.tensor([1, 1, 0, 2])
    rng.seed(0)
    real, fake, given = model.shared_forward(image, label)
    rng.seed(0)
    z = model.prior(4)[:, :5]
    expected = model.generator(torch.cat([z, one_hot(label, CLASSES).float()], 1)).tanh()
    torch.testing.assert_close(fake, expected)
    assert torch.equal(given, label)
    assert real.min() < 0


@pytest.mark.parametrize("condition", ["concat", "projection"])
def test_the_discriminator_hears_the_label(condition: str) -> None:
    model, images = cgan(condition).eval(), torch.randn(4, *SHAPE)
    zero, one = torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    assert not torch.allclose(model.discriminator_logits(images, zero), model.discriminator_logits(images, one))


def test_an_auxiliary_classifier_is_paid_by_both_players() -> None:
    """Odena et al., eq. 2 and 3, from the network's own outputs."""
    model, label = cgan("classifier", classifier_weight=0.7).eval(), torch.tensor([1, 1, 0, 2])
    real, fake, _ = model.shared_forward(torch.rand(4, *SHAPE), label)
    on_real, on_fake = (model.discriminator.network(each).double() for each in (real, fake))
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
    ("condition", "remedy"),
    [
        *itertools.product(CONDITIONS, ("r1", "instance_noise")),
        *itertools.product(("concat", "projection"), ("unroll", "consensus")),
    ],
)
def test_the_regularizers_work_with_labels(condition: str, remedy: str) -> None:
    model, label = cgan(condition, regularizers={remedy: {}}), torch.tensor([1, 1, 0, 2])
    drawn = model.shared_forward(torch.rand(4, *SHAPE), label)
    for phase in model.phases():
        model.zero_grad(set_to_none=True)
        loss = phase.objective(*drawn)["loss"]
        loss.backward(retain_graph=True)
        assert math.isfinite(loss.item())


def test_what_cannot_be_is_refused_in_a_line() -> None:
    with pytest.raises(ConfigError, match="'cgan' needs labels"):
        ConditionalGAN(SHAPE, None, G, D)
    with pytest.raises(ConfigError, match="no one label"):
        cgan("concat", regularizers={"pack": {}})
    for remedy in ("unroll", "consensus"):  # whose discriminator's loss is without its classes
        with pytest.raises(ConfigError, match=f"{remedy} knows.*use model.regularizers.{remedy}=null"):
            cgan("classifier", regularizers={remedy: {}})
    with pytest.raises(ConfigError, match="no sequence of layers"):
        ConditionalGAN(SHAPE, CLASSES, G, {"name": "mlp", "hidden": []}, "projection")


def test_a_column_of_the_grid_is_a_class() -> None:
    model = cgan("concat").eval()
    assert class_columns(model, 64) == 3
    assert class_columns(model, 2) is None
    ((_, picture),) = SamplesGrid(n=8).run(model, None)
    cell = 2 + 64
    assert picture.pixels.shape == (1, 2 * cell + 2, 3 * cell + 2)  # two whole rows

"""What a label does to a conditional VAE, and whether samples obey it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.distributed.runtime import Runtime
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.distribution.conditional_accuracy import ConditionalAccuracy
from genlab.models.autoencoders.cvae import CVAE
from genlab.models.autoencoders.vae import VAE
from genlab.workflows.build import build_model
from tests.support.evaluated import MemorySplit
from tests.support.models import spec_of

SHAPE = (1, 2, 3)
SMALL = {"name": "mlp", "hidden": [16], "activation": "tanh"}


def cvae(**changes: Any) -> CVAE:
    torch.manual_seed(0)
    return CVAE(SHAPE, 4, SMALL, latent_dim=3, **changes)


def test_a_code_holds_its_label_and_both_networks_hear_it() -> None:
    model, image = cvae(), torch.rand(2, *SHAPE)
    zero, one = torch.tensor([0, 0]), torch.tensor([1, 3])
    code = model.encode(image, one)
    assert code[:, 3:].tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert not torch.equal(code[:, :3], model.encode(image, zero)[:, :3])  # the encoder hears it
    other = torch.cat([code[:, :3], model.encode(image, zero)[:, 3:]], 1)
    assert not torch.equal(model.decode(code), model.decode(other))  # and the decoder


def test_samples_go_through_the_classes_or_keep_to_one() -> None:
    model = cvae()
    model.decode = lambda code: code[:, 3:]  # type: ignore[method-assign]
    assert model.sample(6).argmax(1).tolist() == [0, 1, 2, 3, 0, 1]
    assert model.sample(3, label=2).argmax(1).tolist() == [2, 2, 2]
    rng.seed(0)
    drawn = torch.bincount(model.prior(4000)[:, 3:].argmax(1))
    assert drawn.min() > 900


def test_a_conditional_model_without_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs labels"):
        CVAE(SHAPE, None, SMALL)


def test_a_conditional_model_of_attributes_is_refused() -> None:
    settings = {"seed": 0, "model": spec_of("cvae")}
    data: Any = SimpleNamespace(name="faces", shape=SHAPE, num_classes=4, multi_label=True, points=False, columns=())
    with pytest.raises(ConfigError, match="one class per image"):
        build_model(settings, data, Runtime(torch.device("cpu")))


class Painter(CVAE):
    """Draws the class as a bright column; `confused` draws class 1 whatever it is asked for."""

    confused = False

    def sample(self, n: int, label: int | None = None) -> Tensor:
        assert label is not None
        return painted(torch.full((n,), 1 if self.confused else label))


def painted(label: Tensor) -> Tensor:
    image = 0.1 * torch.rand(len(label), *SHAPE)
    image[torch.arange(len(label)), 0, :, label] = 1.0
    return image


def test_conditional_accuracy_counts_samples_that_obey() -> None:
    torch.manual_seed(0)
    label = torch.arange(300) % 3
    split: Any = MemorySplit(painted(label), label)
    split.sibling = lambda name: split
    model = Painter(SHAPE, 3, SMALL)
    evaluator = ConditionalAccuracy(images=60, hidden=16, epochs=60)
    assert evaluator.applies(model)
    assert not evaluator.applies(VAE(SHAPE, SMALL))
    one: Any = MemorySplit(painted(label * 0), label * 0)
    one.sibling = lambda name: one
    with pytest.raises(ConfigError, match="every training image is of class 0"):
        dict(evaluator.run(model, one))
    values = dict(evaluator.run(model, split))
    assert values["classifier_accuracy"] == 1
    assert values["conditional_accuracy"] == 1
    model.confused = True
    values = dict(evaluator.run(model, split))
    assert values["conditional_accuracy"] == pytest.approx(1 / 3)
    assert values["conditional_accuracy_worst_class"] == 0

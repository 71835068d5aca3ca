"""Fidelity against variety as an option of the samples changes: what is measured, and what is refused."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import torch
from annotated_types import Ge
from torch import Tensor

from genlab.core.model import Model
from genlab.core.values import Image
from genlab.data.dataset import Data
from genlab.data.datasets.digits import Digits
from genlab.data.datasets.synthetic.toy import Ring
from genlab.engine.evaluate import evaluate, numbers, with_charts
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.distribution.distances import Coverage
from genlab.evaluation.evaluators.distribution.tradeoff import Tradeoff
from genlab.models.gans.gan import GAN

CPU = torch.device("cpu")


class Memory(Model):
    """Samples are training images: with guidance 1 of the requested class, with 0 of the next, with 2 always the same
    image of each class."""

    num_classes = 10

    def __init__(self, data: Data) -> None:
        super().__init__()
        images, labels = data.split("train").take(1000, ("image", "label"))
        self.of_class = [images[labels == label] for label in range(10)]

    def sample(self, n: int, label: int | None = None, guidance: Annotated[float, Ge(0)] = 1.0) -> Tensor:
        classes = [label if label is not None else i % 10 for i in range(n)]
        if guidance == 0:
            classes = [(each + 1) % 10 for each in classes]
        row = [0 if guidance == 2 else int(torch.randint(60, ())) for _ in classes]
        return torch.stack([self.of_class[each][i] for each, i in zip(classes, row, strict=True)])


@pytest.fixture(scope="module")
def data() -> Data:
    return Digits().open(CPU)


def test_accuracy_needs_the_class_and_recall_needs_variety(data: Data) -> None:
    evaluator = Tradeoff(values=(0, 1, 2), images=130, extractor="pixels", batch_size=50)
    found = numbers(evaluate(evaluator, Memory(data), data, 0))
    assert found["accuracy/guidance_0"] < 0.1
    assert found["accuracy/guidance_1"] > 0.9
    assert found["recall_pixels/guidance_2"] < 0.5 * found["recall_pixels/guidance_1"]
    assert found["fid_pixels/guidance_2"] > found["fid_pixels/guidance_1"] > 0
    assert {"fid_pixels_floor", "recall_pixels_real", "precision_pixels_real"} <= set(found)
    assert "MLPClassifier" in evaluator.protocol()["classifier"]


def test_the_figures_are_those_of_the_evaluators_of_each(data: Data) -> None:
    class Fixed(Memory):
        def sample(self, n: int, label: int | None = None, guidance: float = 1.0) -> Tensor:
            return torch.cat(self.of_class)[:n]

    found = numbers(
        evaluate(Tradeoff(values=(1.5,), images=80, measures=("prdc",), extractor="pixels"), Fixed(data), data, 0)
    )
    alone = numbers(evaluate(Coverage(images=80, extractor="pixels"), Fixed(data), data, 0))
    for name in ("precision_pixels", "recall_pixels", "density_pixels", "coverage_pixels"):
        assert found[f"{name}/guidance_1.5"] == alone[name]


def test_the_chart_has_a_line_for_each_share_with_error_bars() -> None:
    figures = {"recall_x/guidance_1": 0.5, "recall_x/guidance_2": 0.3, "recall_x_real": 0.9, "fid_x/guidance_1": 9.0}
    evaluator = Tradeoff(values=(1, 2))
    assert evaluator.line(figures | {"recall_x/guidance_2_seed_sd": 0.1}, "recall") == [(1, 0.5, 0.0), (2, 0.3, 0.1)]
    assert evaluator.line(figures, "accuracy") == []
    values: Any = list(figures.items())
    [(name, _)] = [each for each in with_charts(evaluator, values) if isinstance(each[1], Image)]
    assert name == "guidance_tradeoff"


def test_what_cannot_change_is_refused(data: Data) -> None:
    model = Memory(data)
    split = data.split("valid")
    assert Tradeoff().applies(model)
    assert not Tradeoff(option="truncation").applies(model)
    assert Tradeoff(option="truncation").instead(model) == "option=guidance"
    assert Tradeoff().instead(GAN.__new__(GAN)) is None
    with pytest.raises(ConfigError, match="'guidance' is the option that changes"):
        Tradeoff(sampling={"guidance": 2}).check(model, split)
    with pytest.raises(ConfigError, match=r"evaluator\.values"):
        Tradeoff(values=(-1,)).check(model, split)
    with pytest.raises(ConfigError, match="evaluator=modes"):
        Tradeoff().check(model, Ring(n=2000).open(CPU).split("valid"))

"""The plane of two-dimensional codes: which models have one, and which points it shows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core.model import Model
from genlab.core.values import Image
from genlab.data.datasets.digits import Digits
from genlab.engine.evaluate import evaluate
from genlab.evaluation.evaluators.latent import maps
from genlab.evaluation.evaluators.latent.maps import Plane


class Corners(Model):
    """The code is the brightness of two corners."""

    latent_dim = 2

    def encode(self, image: Tensor) -> Tensor:
        return torch.stack([image[:, 0, 0, 2], image[:, 0, 7, 2]], 1)


def test_it_shows_the_codes_and_their_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Digits().open(torch.device("cpu"))
    given: list[Any] = []

    def noted(points: Tensor, classes: Tensor | None) -> Image:
        given.extend([points, classes])
        return Image(torch.zeros(3, 2, 2, dtype=torch.uint8))

    monkeypatch.setattr(maps, "scatter", noted)
    [(name, shown)] = evaluate(Plane(n=50), Corners(), data, seed=0)
    assert name == "plane"
    assert isinstance(shown, Image)
    image, label = data.split("valid").take(50, ("image", "label"))
    assert torch.equal(given[0], Corners().encode(image))
    assert torch.equal(given[1], label)


def test_only_codes_of_two_numbers_have_one() -> None:
    model = Corners()
    assert Plane().applies(model)
    model.latent_dim = 3  # type: ignore[misc]
    assert not Plane().applies(model)

"""Episodes on codes that are known, and the modified Hausdorff distance by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.data.loader import Data, Split
from genlab.data.store.table import Table
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.latent.few_shot import FewShot
from genlab.evaluation.metrics.few_shot import hausdorff_distances, ink, modified_hausdorff, prototype_distances
from tests.support.evaluated import Shrinker


def split_of(code: Tensor, label: Tensor, **columns: Tensor) -> Split:
    """Images whose first pixels are the code."""
    image = torch.zeros(len(code), 1, 4, 4, dtype=torch.uint8)
    image.view(len(code), 16)[:, : code.shape[1]] = (code * 255).round().to(torch.uint8)
    table = Table("memory", {"image": image, "label": label, **columns}, torch.device("cpu"), resident=True)
    return Data(table, {"test": torch.arange(len(code))}, None, "", 0, False).split("test")


def errors(split: Split, **keys: Any) -> dict[str, float]:
    rng.seed(0)
    evaluator = FewShot(**keys)
    evaluator.check(Shrinker(), split)
    return {name: float(value) for name, value in evaluator.run(Shrinker(), split)}  # type: ignore[arg-type]


def test_separate_classes_are_always_recognized_and_mixed_ones_by_chance() -> None:
    label = torch.arange(5).repeat(30)
    angle = label * (math.pi / 10)
    apart = torch.stack([angle.cos(), angle.sin(), torch.zeros(150)], 1)
    for distance in ("cosine", "euclidean"):
        found = errors(split_of(apart, label), ways=5, shots=2, queries=3, episodes=20, distance=distance)
        assert found == {"error": 0, "error_se": 0, "guessing": pytest.approx(0.8)}
    mixed = torch.rand(150, 3, generator=torch.Generator().manual_seed(0))
    assert errors(split_of(mixed, label), ways=5, queries=3, episodes=200)["error"] == pytest.approx(0.8, abs=0.05)


def test_the_task_of_a_split_is_followed() -> None:
    """Two runs of two classes: in the first both images are right, in the second they are exchanged."""
    code = torch.tensor([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0], [0.1, 0.9, 0]] * 2)
    label = torch.tensor([0, 1, 0, 1, 2, 3, 3, 2])
    episode = torch.tensor([[0, 0], [0, 0], [0, 1], [0, 1], [1, 0], [1, 0], [1, 1], [1, 1]])
    found = errors(split_of(code, label, episode=episode))  # twenty ways are not asked of it
    assert found == {"error": 0.5, "error_se": pytest.approx(0.5), "guessing": 0.5}


def test_too_few_classes_is_one_line() -> None:
    split = split_of(torch.rand(6, 3), torch.tensor([0, 0, 0, 1, 1, 2]))
    with pytest.raises(ConfigError, match=r"2 classes of the test split have 2 images or more.*ways=2"):
        errors(split)


def test_a_prototype_is_the_mean_of_its_examples() -> None:
    examples = np.array([[[0.0, 0], [2, 0]], [[0, 4], [0, 8]]])  # means (1, 0) and (0, 6)
    queries = np.array([[1.0, 0], [3, 6]])
    assert prototype_distances(queries, examples, cosine=False) == pytest.approx(
        np.array([[0, math.sqrt(37)], [math.sqrt(40), 3]])
    )
    cosine = prototype_distances(queries, examples, cosine=True)
    assert cosine == pytest.approx(np.array([[0, 1], [1 - 3 / math.sqrt(45), 1 - 6 / math.sqrt(45)]]))


def test_the_modified_hausdorff_distance_by_hand() -> None:
    a, b = np.array([[0.0, 0], [0, 2]]), np.array([[0.0, 0], [3, 0], [0, 2]])
    # from a to b: 0 and 0; from b to a: 0, 3, 0
    assert modified_hausdorff(a, b) == modified_hausdorff(b, a) == pytest.approx(1)


def test_ink_is_the_rarer_side_and_its_position_does_not_count() -> None:
    white = np.ones((9, 9))
    white[1, 1:4] = 0
    moved = np.zeros((9, 9))  # the same stroke elsewhere, in the other polarity
    moved[6, 4:7] = 1
    for image in (white, moved):
        assert ink(image) == pytest.approx(np.array([[0, -1], [0, 0], [0, 1]]))
    upright = white.T
    distances = hausdorff_distances(np.stack([white]), np.stack([moved, upright])[:, None])
    assert distances == pytest.approx(np.array([[0, 2 / 3]]))

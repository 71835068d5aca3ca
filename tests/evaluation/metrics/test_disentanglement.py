"""Scores of disentanglement on codes whose scores are known: perfect, random, rotated, constant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.model import Model
from genlab.data.datasets.synthetic.shapes import Shapes
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.latent.disentanglement import Disentanglement
from genlab.evaluation.metrics import disentanglement as metrics
from tests.support.evaluated import MemorySplit

SIZES = (3, 5, 4)


@pytest.fixture(scope="module")
def factors() -> np.ndarray[Any, Any]:
    source = np.random.default_rng(0)
    return np.stack([source.integers(size, size=4000) for size in SIZES], 1)


def scores(codes: np.ndarray[Any, Any], factors: np.ndarray[Any, Any]) -> dict[str, float]:
    disentangled, complete, informative = metrics.dci(codes, factors, 10, 0)
    return {
        "mig": float(metrics.mutual_information_gap(codes, factors, 20).mean()),
        "disentanglement": disentangled,
        "completeness": complete,
        "informativeness": informative,
        "sap": float(metrics.separated_attribute_predictability(codes, factors).mean()),
        "factor_vae": metrics.factor_vae_score(codes, factors, 200, 32, 0),
    }


def test_a_perfect_code_has_one_everywhere_in_any_order_sign_and_scale(factors: np.ndarray[Any, Any]) -> None:
    unused = 0.01 * np.random.default_rng(1).normal(size=(4000, 2))
    codes = np.concatenate([unused, factors[:, [2, 0, 1]] * [-3.0, 10.0, 1.0]], 1)
    for name, value in scores(codes, factors).items():
        assert value > 0.97, name


def test_a_random_code_has_none(factors: np.ndarray[Any, Any]) -> None:
    found = scores(np.random.default_rng(1).normal(size=(4000, 5)), factors)
    assert found["mig"] < 0.01
    assert found["disentanglement"] < 0.05
    assert found["completeness"] < 0.05
    assert found["sap"] < 0.03
    assert abs(found["informativeness"] - np.mean([1 / size for size in SIZES])) < 0.05
    assert found["factor_vae"] < 0.6


def test_a_rotated_code_keeps_the_information_and_loses_the_rest(factors: np.ndarray[Any, Any]) -> None:
    standard = (factors - factors.mean(0)) / factors.std(0)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    found = scores(standard @ turn, factors)
    assert found["informativeness"] > 0.9
    assert found["mig"] < 0.4
    assert found["disentanglement"] < 0.7
    assert found["sap"] < 0.4


def test_a_constant_code_has_finite_scores(factors: np.ndarray[Any, Any]) -> None:
    found = scores(np.zeros((4000, 3)), factors)
    assert all(math.isfinite(value) for value in found.values())
    assert found["mig"] == found["disentanglement"] == found["completeness"] == found["sap"] == 0


def test_a_factor_with_one_value_in_the_half_for_fitting_cannot_be_predicted() -> None:
    factor = np.repeat([0, 1], 10)[:, None]
    with np.errstate(all="raise"):  # no division by zero
        gap = metrics.separated_attribute_predictability(factor.astype(float), factor)
    assert gap.tolist() == [0]


def test_the_gap_by_hand() -> None:
    """z_1 is a fair bit v, z_2 is v in three of four cases; H(v) = log 2."""
    v = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    noisy = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    flipped = 0.25 * math.log(0.25) + 0.75 * math.log(0.75)  # minus the entropy of a flip
    expected = (math.log(2) - (math.log(2) + flipped)) / math.log(2)
    gap = metrics.mutual_information_gap(np.stack([v, noisy], 1).astype(float), v[:, None], 2)
    assert gap == pytest.approx([expected])
    alone = metrics.mutual_information_gap(v[:, None].astype(float), v[:, None], 2)
    assert alone == pytest.approx([1])  # one dimension: nothing competes


def test_dci_of_given_importances() -> None:
    assert metrics.disentanglement_completeness(np.eye(4)) == pytest.approx((1, 1))
    assert metrics.disentanglement_completeness(np.full((4, 4), 0.25)) == pytest.approx((0, 0))
    halves = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]])  # two dimensions for the first factor, each pure
    disentangled, complete = metrics.disentanglement_completeness(halves)
    assert disentangled == pytest.approx(1)
    assert complete == pytest.approx((1 - math.log(2) / math.log(3) + 1) / 2)


class Known(Model):
    """Measures the position of the shape: its center of mass."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def encode(self, image: Tensor) -> Tensor:
        place = torch.arange(image.shape[3], dtype=torch.float32)
        mass = image.sum((1, 2, 3))[:, None]
        return torch.stack([image.sum((1, 2)) @ place, image.sum((1, 3)) @ place], 1) / mass


def test_the_evaluator_reads_the_factors_of_shapes() -> None:
    split = Shapes(size=32, n=1, valid=2000, test=1).open(torch.device("cpu")).split("valid")
    rng.seed(0)
    evaluator = Disentanglement(images=2000, trees=5, votes=100, per_factor=True)
    evaluator.check(Known(), split)
    found: dict[str, Any] = dict(evaluator.run(Known(), split))
    for axis in ("x", "y"):
        assert found[f"mig/{axis}"] > 0.6
    for other in ("shape", "scale"):
        assert found[f"mig/{other}"] < 0.05
    gaps = [value for name, value in found.items() if name.startswith("mig/")]
    assert found["mig"] == pytest.approx(sum(gaps) / 5)


def test_data_without_factors_are_refused() -> None:
    split: Any = MemorySplit(torch.rand(4, 1, 4, 4))
    split.table.factor_names = ()
    with pytest.raises(ConfigError, match="no known factors"):
        Disentanglement().check(Known(), split)

"""The Dirac-GAN: eigenvalues against closed forms of Mescheder, Geiger & Nowozin 2018, and what converges."""

from __future__ import annotations

import cmath
from typing import Any

import pytest
import torch

from genlab.core import rng
from genlab.core.model import Shape
from genlab.core.values import Image
from genlab.data.datasets.synthetic.toy import Dirac
from genlab.engine.evaluate import evaluate, numbers
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.gan.dirac import DiracEvaluator, DiracState, eigenvalues, theory
from genlab.registry import MODELS
from tests.support.evaluated import MemorySplit
from tests.support.models import spec_of

R1 = {"regularizers": {"r1": {"weight": 0.5}}}
NOISE = {"regularizers": {"instance_noise": {"sigma": 0.7, "anneal": False}}}
PENALIZED = {"loss": "wasserstein", "critic_steps": 5, "regularizers": {"gradient_penalty": {"weight": 0.25}}}


def dirac(shape: Shape = (1, 1, 1), **changes: Any) -> Any:
    return MODELS.build(spec_of("dirac") | changes, "model", image_shape=shape).eval()


def roots(trace: float, determinant: float) -> list[complex]:
    root = cmath.sqrt(trace**2 / 4 - determinant)
    return [trace / 2 + root, trace / 2 - root]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0.5j, -0.5j]),  # ±f'(0) i
        ({"loss": "non_saturating"}, [0.5j, -0.5j]),
        ({"loss": "relativistic"}, [0.5j, -0.5j]),
        ({"loss": "wasserstein"}, [1j, -1j]),
        ({"loss": "hinge"}, [1j, -1j]),
        ({"critic_steps": 4}, [0.25j, -0.25j]),  # θ is four times as slow
        (R1, roots(-0.5, 0.25)),  # −γ/2 ± √(γ²/4 − f'(0)²)
        ({"regularizers": {"r1": {"weight": 2.0}}}, roots(-2, 0.25)),  # overdamped: both real
        ({"regularizers": {"r2": {"weight": 0.5, "every": 3}}}, roots(-0.5, 0.25)),  # lazily, and as strong
        (NOISE, roots(-0.245, 0.25)),  # f''(0)σ² ± √(f''(0)²σ⁴ − f'(0)²)
        ({"regularizers": {"consensus": {"weight": 1.0}}}, [-0.25 + 0.5j, -0.25 - 0.5j]),  # −γf'(0)² ± f'(0) i
        # consensus is of the losses without R1: [[−¼, ½], [−½, −¼ − ½]]
        ({"regularizers": {"consensus": {"weight": 1.0}, "r1": {"weight": 0.5}}}, roots(-1.0, 0.4375)),
        # and the generator descends it when it moves: [[−1/12, 1/6], [−½, −¼]]
        ({"critic_steps": 3, "regularizers": {"consensus": {"weight": 1.0}}}, roots(-1 / 3, 5 / 48)),
    ],
)
def test_eigenvalues_are_those_of_the_paper(changes: dict[str, Any], expected: list[complex]) -> None:
    model = dirac(**changes)
    assert theory(model) == pytest.approx(expected)
    rng.seed(0)
    tolerance = 0.01 if changes is NOISE else 1e-3  # the noise of 100,000 points
    found = eigenvalues(DiracState(model, torch.zeros(1, 1, 1, 1)).jacobian(100_000))
    assert sorted(found, key=lambda e: e.imag) == pytest.approx(sorted(expected, key=lambda e: e.imag), abs=tolerance)


@pytest.mark.parametrize(
    ("changes", "converges"),
    [({}, False), ({"loss": "wasserstein"}, False), (PENALIZED, False), (R1, True), (NOISE, True)],
)
def test_r1_and_noise_converge_and_the_others_do_not(changes: dict[str, Any], converges: bool) -> None:
    rng.seed(0)
    path = DiracState(dirac(**changes), torch.zeros(1, 1, 1, 1)).descend((1.0, 1.0), 400, 0.1)
    distance = path[-50:].norm(dim=1)
    assert distance.max() < 0.15 if converges else distance.min() > 0.3


def test_its_path_is_that_of_alternating_descent() -> None:
    """Written out: ψ ← ψ − hσ(ψθ)θ, then θ ← θ + hσ(ψθ)ψ."""
    theta = psi = torch.ones(())
    for _ in range(20):
        psi = psi - 0.1 * torch.sigmoid(psi * theta) * theta
        theta = theta + 0.1 * torch.sigmoid(psi * theta) * psi
    path = DiracState(dirac(), torch.zeros(1, 1, 1, 1)).descend((1.0, 1.0), 20, 0.1)
    assert path[-1].tolist() == pytest.approx([float(theta), float(psi)], abs=1e-5)


def test_its_path_is_clipped_as_in_training() -> None:
    model = dirac(loss="wasserstein", regularizers={"clip": {"bound": 0.1}})
    state = DiracState(model, torch.zeros(1, 1, 1, 1))
    path = state.descend((1.0, 1.0), 100, 0.1)
    assert path[1:, 1].abs().max() == pytest.approx(0.1)
    assert path[1].tolist() == pytest.approx([1.01, 0.1])  # θ moves against the clipped ψ
    assert not state.model.training


def test_the_evaluator_leaves_the_model_as_it_was_and_draws_the_field() -> None:
    model = dirac(**R1)
    found = evaluate(DiracEvaluator(n=100, steps=20), model, Dirac(n=10, valid=2, test=0).open(torch.device("cpu")), 0)
    said = numbers(found)
    assert (said["theta"], said["psi"]) == (1.0, 1.0)
    assert said["distance"] == pytest.approx(2**0.5)
    assert said["distance_from_1_1"] < said["distance"]
    assert said["theory_1_real"] == pytest.approx(-0.25)
    assert isinstance(dict(found)["dirac"], Image)
    assert (model.generator.theta.item(), model.discriminator.psi.item()) == (1.0, 1.0)


def test_a_penalty_with_a_kink_has_no_eigenvalues_and_an_annealed_one_no_theory() -> None:
    evaluator = DiracEvaluator(n=100, steps=1)
    names = numbers(list(evaluator.run(dirac(**PENALIZED), MemorySplit(torch.zeros(2, 1, 1, 1)))))  # type: ignore[arg-type]
    assert not [name for name in names if "eigenvalue" in name or "theory" in name]
    assert theory(dirac(loss="least_squares")) is None
    assert theory(dirac(regularizers={"unroll": {"steps": 1}})) is None
    assert not evaluator.applies(MODELS.build(spec_of("gan"), "model", image_shape=(1, 8, 8)))
    with pytest.raises(ConfigError, match="use dataset=dirac"):
        next(evaluator.run(dirac((1, 2, 2)), MemorySplit(torch.zeros(2, 1, 2, 2))))  # type: ignore[arg-type]

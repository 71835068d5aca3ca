"""Quality against network calls: which steps the calls allow, what is measured, and how results become one figure."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.model import HasPath
from genlab.core.values import Image
from genlab.data.datasets.digits import Digits
from genlab.data.datasets.synthetic.toy import Ring
from genlab.engine.evaluate import evaluate, numbers, with_charts
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.paths.nfe import QualityByCalls, curves, quality_chart, titled
from genlab.evaluation.metrics.frechet import fid
from genlab.models.diffusion.ddpm import DDPM
from genlab.models.diffusion.edm import EDM
from genlab.models.flows.flow_matching import FlowMatching
from genlab.models.flows.meanflow import MeanFlow
from genlab.models.flows.realnvp import RealNVP
from genlab.workflows.evaluation import averaged
from tests.support.fields import known

CPU = torch.device("cpu")
POWERS = (1, 2, 4, 8)


def still(x: Tensor, *_: Any) -> Tensor:
    return torch.zeros_like(x)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (FlowMatching, {"solver": "euler"}, {1: 1, 2: 2, 4: 4, 8: 8}),
        (FlowMatching, {"solver": "heun"}, {2: 1, 4: 2, 8: 4}),
        (FlowMatching, {"solver": "rk4"}, {4: 1, 8: 2}),
        (EDM, {"solver": "heun"}, {1: 1, 3: 2, 7: 4}),  # one call less in the last step
        (DDPM, {}, {1: 1, 2: 2, 4: 4, 8: 8}),
        (MeanFlow, {}, {1: 1, 2: 2, 4: 4, 8: 8}),
    ],
)
def test_a_sample_takes_as_many_steps_as_the_calls_allow(kind: Any, options: Any, expected: dict[int, int]) -> None:
    model = known(kind, still)
    assert isinstance(model, HasPath)
    assert QualityByCalls(calls=POWERS).affordable(model, options) == expected


def test_guidance_doubles_the_calls_and_a_model_may_lack_steps() -> None:
    guided = known(FlowMatching, still, conditional=True)
    assert QualityByCalls(calls=POWERS).affordable(guided, {"solver": "euler", "guidance": 2.0}) == {2: 1, 4: 2, 8: 4}
    assert QualityByCalls(calls=POWERS).affordable(known(DDPM, still, timesteps=5), {}) == {1: 1, 2: 2, 4: 4}
    with pytest.raises(ConfigError, match=r"a sample takes 4 calls or more; key evaluator.calls"):
        QualityByCalls(calls=(1, 2)).affordable(guided, {"guidance": 2.0})


def test_images_are_measured_by_their_fid_at_each_number_of_calls() -> None:
    """A velocity that moves every pixel by t: Euler's error falls with the steps, and so does the distance."""
    data = Digits().open(CPU)
    split = data.split("valid")
    shape = tuple(split.take(1, ("image",))[0].shape[1:])
    model = known(FlowMatching, lambda x, t, label: 2 * t * torch.ones_like(x), shape)
    samplers: Any = ({"solver": "euler"}, {"solver": "midpoint"})
    evaluator = QualityByCalls(calls=(1, 2, 4), samplers=samplers, images=150, extractor="pixels")
    found = numbers(evaluate(evaluator, model, data, 0))
    assert [name for name in found if not name.startswith("seconds")] == [
        "fid_pixels/solver_euler/calls_1", "fid_pixels/solver_euler/calls_2", "fid_pixels/solver_euler/calls_4",
        "fid_pixels/solver_midpoint/calls_2", "fid_pixels/solver_midpoint/calls_4", "fid_pixels_floor",
    ]  # fmt: skip
    assert all(value > 0 for name, value in found.items() if name.startswith("seconds_per_image/"))
    rng.seed(0, 2**31)
    rng.fold_in(0)
    real = split.drawn(150).take(150, ("image",))[0].flatten(1)
    assert found["fid_pixels/solver_euler/calls_2"] == pytest.approx(
        fid(model.sample(150, steps=2, solver="euler").flatten(1), real), rel=1e-4
    )
    protocol = evaluator.protocol()
    assert protocol["steps"]["solver_midpoint"] == {"calls_2": 1, "calls_4": 2}
    assert (protocol["extractor"], protocol["generated_images"]) == ("pixels", 150)


def test_points_are_measured_by_the_fraction_near_a_mode() -> None:
    data = Ring(n=20_000).open(CPU)
    to_center = known(FlowMatching, lambda x, t, label: -x / (1 - t))
    evaluator = QualityByCalls(calls=(1, 2), samplers=({"solver": "euler"},), images=50)
    found = numbers(evaluate(evaluator, to_center, data, 0))
    assert found["high_quality/solver_euler/calls_1"] == 0  # all at the center, between the modes
    assert set(curves(found)) == {"high_quality", "seconds_per_image"}


def test_seeds_become_error_bars_and_charts_follow_the_average() -> None:
    seeds = [[("fid_x/calls_1", 10.0 + seed), ("fid_x/calls_2", 5.0), ("fid_x_floor", 1.0)] for seed in range(3)]
    values = with_charts(QualityByCalls(), averaged(seeds))  # type: ignore[arg-type]
    assert curves(numbers(values)) == {"fid_x": {"": [(1, 11, 1), (2, 5, 0)]}}
    [(name, chart)] = [(name, value) for name, value in values if isinstance(value, Image)]
    assert name == "fid_x_by_calls"
    assert torch.equal(chart.pixels, quality_chart("fid_x", {"": [(1, 11, 1), (2, 5, 0)]}, 1.0).pixels)
    assert not torch.equal(chart.pixels, quality_chart("fid_x", {"": [(1, 11, 0), (2, 5, 0)]}, 1.0).pixels)


def test_titles_hold_the_options() -> None:
    assert titled({"solver": "heun", "guidance": 2.0, "churn": 0.5}) == "solver_heun-guidance_2-churn_0.5"
    metrics = {"fid_x/eta_0.5/calls_3": 2.0, "fid_x/eta_0.5/calls_3_seed_sd": 0.5, "fid_x/eta_0.5/calls_7": None}
    assert curves(metrics) == {"fid_x": {"eta_0.5": [(3, 2, 0.5)]}}


def test_unfit_options_are_named_before_anything_is_drawn() -> None:
    data = Digits().open(CPU).split("valid")
    model = known(FlowMatching, still, tuple(data.take(1, ("image",))[0].shape[1:]))
    for samplers, message in (
        (({"steps": 3},), r"the calls decide how many steps there are; key evaluator.samplers"),
        (({"solvers": "euler"},), r"did you mean 'solver'"),
    ):
        with pytest.raises(ConfigError, match=message):
            QualityByCalls(samplers=samplers, extractor="pixels").check(model, data)  # type: ignore[arg-type]


def test_it_applies_to_models_that_sample_in_steps() -> None:
    assert QualityByCalls().applies(known(MeanFlow))
    spec = {"name": "mlp", "hidden": [4]}
    assert not QualityByCalls().applies(RealNVP((2, 1, 1), spec))


def test_a_fourth_of_the_error_remains_with_twice_the_calls() -> None:
    """dx/dt = t·x by the midpoint rule, seen through the metrics: what is drawn is what was asked for."""
    model = known(FlowMatching, lambda x, t, label: t * x)
    errors = []
    for steps in (4, 8):
        images, _ = QualityByCalls(images=20).timed(model, {"solver": "midpoint", "steps": steps})
        start = QualityByCalls(images=20).timed(known(FlowMatching, still), {"steps": 1})[0]
        errors.append(float((images - math.exp(0.5) * start).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)

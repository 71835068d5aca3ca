"""The path from noise to data as images: which states are shown, where, and how wide noise is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core import rng
from genlab.core.values import Image
from genlab.data.datasets.digits import Digits
from genlab.data.datasets.synthetic.toy import Ring
from genlab.engine.evaluate import evaluate
from genlab.errors import ConfigError
from genlab.evaluation.evaluators.paths.path_images import PathImages
from genlab.evaluation.sampling_path import frame, narrowed, states, strip
from genlab.models.diffusion.ddpm import DDPM
from genlab.models.diffusion.edm import EDM
from genlab.models.flows.flow_matching import FlowMatching
from genlab.models.flows.realnvp import RealNVP
from genlab.registry import EVALUATORS, discover
from genlab.reports.vector_field import DATA
from tests.support.fields import known

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)


def to_white(x: Tensor, t: Tensor, label: Any) -> Tensor:
    """The velocity that ends at 1 everywhere."""
    return (1 - x) / (1 - t)


@pytest.mark.parametrize(
    ("steps", "count", "expected"),
    [(4, 10, [0, 1, 2, 3, 4]), (9, 4, [0, 3, 6, 9]), (20, 3, [0, 10, 20]), (1, 5, [0, 1]), (6, 1, [0])],
)
def test_states_are_spread_evenly_over_the_steps(steps: int, count: int, expected: list[int]) -> None:
    model = known(FlowMatching, to_white, SHAPE)
    rng.seed(0)
    all_states = list(model.path(2, steps=steps, solver="euler"))
    rng.seed(0)
    shown = states(model, 2, count, steps=steps, solver="euler")
    assert len(shown) == len(expected)
    assert all(torch.equal(a, all_states[i]) for a, i in zip(shown, expected, strict=True))


def test_a_path_without_the_option_steps_is_refused() -> None:
    class Fixed(FlowMatching):
        def path(self, n: int) -> Iterator[Tensor]:  # type: ignore[override]
            return iter(())

    with pytest.raises(ConfigError, match="does not say how many steps"):
        states(known(Fixed, to_white, SHAPE), 1, 4)
    assert not PathImages().applies(known(Fixed, to_white, SHAPE))


def test_a_row_of_states_holds_more_than_the_noise() -> None:
    discover()
    with pytest.raises(ConfigError, match=r"bad value 1 for 'evaluator\.columns'"):
        EVALUATORS.build({"name": "paths", "columns": 1})


def test_the_steps_of_the_model_are_the_default() -> None:
    assert len(states(known(FlowMatching, to_white, SHAPE), 1, 100)) == 21


def test_rows_are_samples_and_columns_are_times() -> None:
    model = known(FlowMatching, to_white, SHAPE)
    path = states(model, 3, 4, steps=3, solver="euler")
    shown = strip(model, path, None).pixels
    cell = 8 * 8 + 2  # enlarged to 64 pixels, and a gap
    assert shown.shape == (1, 2 + 3 * cell, 2 + 4 * cell)
    for row in range(3):
        for column, state in enumerate(path):
            pixel = model.to_image(state)[row, 0, 0, 0]
            assert int(shown[0, row * cell + 4, column * cell + 4]) == pytest.approx(float(255 * pixel), abs=1)


def test_wide_noise_is_scaled_down_and_data_is_not() -> None:
    model = known(EDM, lambda x, t, label: torch.zeros_like(x), SHAPE)
    first = states(model, 8, 2)[0]
    assert float(first.std()) > 70
    assert float(narrowed(first, 1).std()) == pytest.approx(1)
    image = torch.rand(4, *SHAPE)
    assert torch.equal(narrowed(image, 1), image)


def test_points_are_drawn_over_the_data_in_the_same_window() -> None:
    model = known(FlowMatching, lambda x, t, label: torch.zeros_like(x))
    data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])[:, :, None, None]
    shown = frame(model, torch.tensor([[0.0, 1.0]])[:, :, None, None], data, 101).pixels
    at = lambda x, y: shown[:, round(50 - y / 2.1 * 50), round(50 + x / 2.1 * 50)].tolist()  # noqa: E731
    assert at(1, 0) == at(-1, 0) == list(DATA)
    assert at(0, 1) == [0, 90, 50]
    row = strip(model, states(model, 5, 3, steps=2), data).pixels
    assert row.shape == (3, 180, 3 * 180 + 2 * 4)


def test_the_evaluator_shows_images_and_points() -> None:
    points = known(FlowMatching, lambda x, t, label: torch.zeros_like(x))
    [(name, shown)] = evaluate(PathImages(columns=2, points=5), points, Ring(n=100, valid=50).open(CPU), 0)
    assert name == "paths"
    assert isinstance(shown, Image)
    assert shown.pixels.shape == (3, 180, 364)
    evaluator = PathImages(rows=2, columns=3, sampling={"steps": 2})
    [(_, shown)] = evaluate(evaluator, known(FlowMatching, to_white, SHAPE), Digits().open(CPU), 0)
    assert isinstance(shown, Image)
    assert shown.pixels.shape == (1, 2 + 2 * 66, 2 + 3 * 66)
    with pytest.raises(ConfigError, match=r"evaluator\.sampling"):
        PathImages(sampling={"stps": 2}).check(points, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"evaluator\.sampling: the model has 1000 steps; steps=1001; give"):
        PathImages(sampling={"steps": 1001}).check(known(DDPM, to_white, SHAPE), None)  # type: ignore[arg-type]
    assert not PathImages().applies(RealNVP((2, 1, 1), {"name": "mlp", "hidden": [4]}))

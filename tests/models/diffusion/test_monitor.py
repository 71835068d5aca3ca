"""What ranks the steps and runs of diffusion and flow models."""

from __future__ import annotations

import pytest

from genlab.config import compose
from genlab.registry import EVALUATORS, MODELS
from tests.support.models import shrunk, spec_of

NAMES = ("ddpm", "edm", "flow_matching", "meanflow")


@pytest.mark.parametrize("name", NAMES)
def test_of_images_an_fid_that_the_default_evaluators_measure(name: str) -> None:
    model = MODELS.build(shrunk(spec_of(name)), "model", image_shape=(1, 8, 8))
    assert model.monitor == "quick_fid"
    spec = compose.compose([f"model={name}"]).config["evaluator"]["quick_fid"]
    assert EVALUATORS.build(spec, "evaluator.quick_fid", key="quick_fid").applies(model)
    assert spec["sampling"] == {"steps": 10}  # the samples of 40 calls would take longer than training on a CPU


@pytest.mark.parametrize("name", NAMES)
def test_of_points_an_error(name: str) -> None:
    spec = {**shrunk(spec_of(name)), "network": {"name": "film_mlp", "width": 4, "layers": 1}}
    model = MODELS.build(spec, "model", image_shape=(2, 1, 1))
    assert model.monitor == ("squared_error" if name == "meanflow" else "loss")

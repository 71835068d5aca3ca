"""What a sample may be asked for, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.core.model import HasPath
from genlab.core.sampling import network_calls, sample_options
from genlab.models.diffusion.ddpm import DDPM
from genlab.models.diffusion.edm import EDM
from genlab.models.flows.flow_matching import FlowMatching
from genlab.models.flows.meanflow import MeanFlow
from genlab.nn.diffusion.guidance import GuidedModel
from tests.support.fields import known

OPTIONS: dict[type[GuidedModel], list[str]] = {
    FlowMatching: ["steps", "solver", "guidance", "label"],
    DDPM: ["steps", "eta", "guidance", "label"],
    EDM: ["steps", "solver", "churn", "guidance", "label"],
    MeanFlow: ["steps", "guidance", "label"],
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_options_of_a_sample_are_those_of_its_path(kind: type[GuidedModel]) -> None:
    model = known(kind)
    assert isinstance(model, HasPath)
    assert [*sample_options(model).model_fields] == OPTIONS[kind]
    with pytest.raises(TypeError, match="step"):
        model.sample(1, step=2)


def zero(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
    return torch.zeros_like(x)


@pytest.mark.parametrize(
    ("kind", "options", "calls"),
    [
        (FlowMatching, {"solver": "euler"}, 6),
        (FlowMatching, {"solver": "heun"}, 12),
        (FlowMatching, {"solver": "rk4"}, 24),
        (FlowMatching, {"solver": "rk4", "guidance": 2.0}, 48),
        (DDPM, {}, 6),
        (EDM, {"solver": "euler"}, 6),
        (EDM, {"solver": "heun"}, 11),  # the last step, to σ = 0, is one of Euler's
        (MeanFlow, {"guidance": 2.0}, 12),
    ],
)
def test_a_sample_costs_what_its_solver_and_its_guidance_ask_for(
    kind: type[GuidedModel], options: dict[str, Any], calls: int
) -> None:
    assert network_calls(known(kind, zero, conditional=True), steps=6, **options) == calls

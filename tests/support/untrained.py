"""Models of the presets, small and untrained, as if loaded from a run on the digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from genlab.core import rng
from genlab.distributed.runtime import Runtime
from genlab.registry import MODELS
from genlab.workflows.build import LoadedRun
from tests.support.models import shrunk, spec_of

DIGITS = {"name": "digits", "shape": [1, 8, 8], "num_classes": 10, "label_names": [*"0123456789"]}


def loaded_run(preset: str, **model: Any) -> LoadedRun:
    """The preset with other keys of the model, its weights made from seed 0."""
    rng.seed(0)
    spec = {**shrunk(spec_of(preset)), **model}
    built = MODELS.build(spec, "model", image_shape=(1, 8, 8), num_classes=10).eval().requires_grad_(False)
    config = {"name": preset, "seed": 0, "model": spec, "dataset": {"name": "digits"}}
    return LoadedRun(Path("run"), built, config, {"data": DIGITS}, Runtime(torch.device("cpu")), 10, "raw", "")


def flow(**model: Any) -> LoadedRun:
    """A flow whose velocity is not 0, as it is before training: the last layer begins with zeros."""
    run = loaded_run("flow_matching", **model)
    for weight in run.model.parameters():
        weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
    return run

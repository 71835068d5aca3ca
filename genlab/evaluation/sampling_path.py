"""The path from noise to data of models that sample step by step, as images: in a row, or as the frames of a film."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.core.model import HasPath
from genlab.core.sampling import sample_options
from genlab.core.values import Image
from genlab.errors import ConfigError
from genlab.reports.grid import PAPER, image_grid
from genlab.reports.vector_field import DATA, SAMPLES, Window, plot

NOISE = 2.0  # standard deviations of unit noise that a plot of points shows
UNIT = 1.2  # the widest that unit noise is taken to be: few values spread by more than 1
GAP = 4  # pixels between plots of points


def states(model: Any, n: int, count: int, **options: Any) -> list[Tensor]:
    """At most `count` states (n, C, H, W) of n samples, evenly spaced over the steps, the first and the last included.

    `options` are those of the model's `sample`, in which `steps` decides how many states there are.
    """
    wanted = spread(model, count, **options)
    return [state for i, state in enumerate(model.path(n, **options)) if i in wanted]


def has_steps(model: Any) -> bool:
    """Whether a sample is the end of a path whose number of steps is an option."""
    return isinstance(model, HasPath) and "steps" in sample_options(model).model_fields


def spread(model: HasPath, count: int, **options: Any) -> set[int]:
    """Which of the states 0, ..., `steps` are shown, at most `count`; ConfigError if the model lacks this option."""
    if not has_steps(model):
        hint = "give its method path a parameter steps with a default"
        raise ConfigError("the model does not say how many steps its paths have", "its options lack steps", hint)
    steps = options.get("steps", sample_options(model).model_fields["steps"].default)
    return {round(steps * i / max(1, count - 1)) for i in range(count)}


def strip(model: HasPath, path: list[Tensor], data: Tensor | None) -> Image:
    """States from left to right: images (n, C, H, W), a row for each sample; of points, a plot for each state.

    `data` are real points (M, 2, 1, 1), drawn gray; None: the states are images.
    """
    if data is not None:
        plots = [frame(model, state, data, side=180).pixels for state in path]
        gap = torch.full((3, plots[0].shape[1], GAP), PAPER, dtype=torch.uint8)
        return Image(torch.cat([part for plot in plots for part in (plot, gap)][:-1], 2))
    columns = torch.stack([model.to_image(narrowed(state, UNIT)) for state in path], 1)  # (n, T, C, H, W)
    return image_grid(columns.flatten(0, 1), len(path))


def frame(model: HasPath, state: Tensor, data: Tensor | None, side: int) -> Image:
    """One state as a grid of images, or as a plot of points over the data, `side` pixels square."""
    if data is None:
        return image_grid(model.to_image(narrowed(state, UNIT)))
    real = data.flatten(1).cpu()
    points = narrowed(state, max(UNIT, float(real.std()))).flatten(1).cpu()
    window = Window.around(torch.cat([real, real.new_tensor([[NOISE, NOISE], [-NOISE, -NOISE]])]), 0.05, side)
    return plot(window, None, None, [(real, DATA, 1), (points, SAMPLES, 1)])


def narrowed(state: Tensor, width: float) -> Tensor:
    """A state whose values spread more widely than `width`, as the noise of EDM, scaled down to it."""
    return state / (state.std() / width).clamp_min(1)

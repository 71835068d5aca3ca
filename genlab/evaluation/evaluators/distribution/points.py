"""Points in the plane: a model's samples over the data, and its discriminator's logit or velocity everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.evaluator import SamplesEvaluator
from genlab.core.model import HasVelocity
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.nn.capabilities import HasGANLoss
from genlab.registry import EVALUATORS, Count, Fraction
from genlab.reports.vector_field import DATA, SAMPLES, Window, in_the_plane, plot

Logit = Callable[[Tensor], Tensor]


@EVALUATORS("points")
@dataclass
class PointsPlot(SamplesEvaluator):
    """Data gray, samples green. The background is the logit of a GAN's discriminator: red real, blue fake, white midway
    between its extremes; arrows show where the generator's loss drives a sample at that place, −∇ of the loss. For a
    flow the arrows are its velocity at `time`, 0 noise and 1 data. `sampling`: options of the model's `sample`.
    """

    n: Count = 1000
    time: Fraction = 0.8

    def run(self, model: Any, split: Split) -> Iterator[tuple[str, Value]]:
        if not split.points:
            return
        data = split.take(self.n, ("image",))[0]
        if not in_the_plane(data):
            return
        samples = model.sample(self.n, **self.options(model))
        window = Window.around(data.flatten(1).cpu())
        value = arrows = None
        plain = model.inputs == ("image",) and not model.conditions
        if isinstance(model, HasGANLoss) and plain:
            logit = alone(model, data)
            value, arrows = scaled(logit), lambda points: drive(model, logit, points)
        elif isinstance(model, HasVelocity) and plain:
            arrows = lambda points: model.velocity(as_pixels(points, data), self.time).flatten(1)  # noqa: E731
        dots = [(data.flatten(1), DATA, 1.5), (samples.flatten(1), SAMPLES, 1.5)]
        yield "points", plot(window, value, arrows, dots)


def alone(model: Any, data: Tensor) -> Logit:
    """The discriminator's logit (N,) as a function of points (N, 2); packs are completed with points of `data`."""
    packed = model.regularizers.pack

    def logit(points: Tensor) -> Tensor:
        seen = as_pixels(points, data)
        if packed:
            others = data.repeat(-(-len(seen) * (packed.size - 1) // len(data)), 1, 1, 1)
            beside = others[: len(seen) * (packed.size - 1)].unflatten(0, (len(seen), packed.size - 1))
            seen = torch.cat([seen[:, None], beside], 1).flatten(0, 1)
        return model.discriminator_logits(seen).flatten().float()

    return logit


def as_pixels(points: Tensor, like: Tensor) -> Tensor:
    """Points (N, 2) as images of one pixel (N, 2, 1, 1), on the device of `like`."""
    return points.to(like)[:, :, None, None]


def scaled(logit: Logit) -> Logit:
    """The logit scaled to [-1, 1] over the points at which it is evaluated."""

    def value(points: Tensor) -> Tensor:
        found = logit(points)
        low, high = found.aminmax()
        return 2 * (found - low) / (high - low).clamp_min(1e-12) - 1

    return value


def drive(model: Any, logit: Logit, points: Tensor) -> Tensor:
    """Where the generator's loss drives samples at points (N, 2): minus the gradient of each sample's own loss."""
    with torch.enable_grad():
        x = points.detach().requires_grad_()
        on_fake = logit(x)
        loss = model.gan_loss.generator(on_fake, on_fake.detach()) * len(x)
        [gradient] = torch.autograd.grad(loss, x)
    return -gradient

"""What a model makes of points in the plane: its samples over the data, and what its discriminator thinks where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core.model import Model, Samples
from genlab.core.values import Value
from genlab.registry import EVALUATORS, Count, Duration
from genlab.reports.vector_field import Window, picture

if TYPE_CHECKING:
    from genlab.data.dataset import Split

DATA, SAMPLES = (120, 120, 120), (0, 90, 50)  # grey and green
Judge = Callable[[Tensor], Tensor]


@EVALUATORS("points")
class PointsPicture:
    """Data grey, samples green. Behind them, for a GAN, the discriminator's logit: red real, blue fake, white halfway
    between its least and largest; arrows show where a sample at that place would be driven, −∇ of the generator's loss.
    """

    split: str | None = "valid"

    def __init__(self, n: Count = 1000, every: Duration | None = "10%") -> None:
        self.n, self.every = n, every

    def applies(self, model: Model) -> bool:
        return isinstance(model, Samples)

    def run(self, model: Model, split: Split | None) -> Iterator[tuple[str, Value]]:
        assert split is not None
        assert isinstance(model, Samples)
        if not split.points:
            return
        data = split.first(min(self.n, len(split)), ("image",))[0]
        if data[0].numel() != 2:
            return  # a plane is what can be seen
        samples = model.sample(self.n)
        window = Window.around(data.flatten(1).cpu())
        value = arrows = None
        if (
            callable(getattr(model, "discriminator_logits", None))
            and not model.conditions
            and model.inputs == ("image",)
        ):
            logit = alone(model, data)
            value, arrows = scaled(logit), lambda points: drive(model, logit, points)
        dots = [(data.flatten(1), DATA, 1.5), (samples.flatten(1), SAMPLES, 1.5)]
        yield "points", picture(window, value, arrows, dots)

    def protocol(self) -> dict[str, Any]:
        return {"samples": self.n}


def alone(model: Any, data: Tensor) -> Judge:
    """The logit (N,) of points (N, 2), as a function; a discriminator of packs sees each beside points of `data`."""
    packed = model.regularizers.pack

    def logit(points: Tensor) -> Tensor:
        seen = points.to(data)[:, :, None, None]
        if packed:
            others = data.repeat(-(-len(seen) * (packed.size - 1) // len(data)), 1, 1, 1)
            beside = others[: len(seen) * (packed.size - 1)].unflatten(0, (len(seen), packed.size - 1))
            seen = torch.cat([seen[:, None], beside], 1).flatten(0, 1)
        return model.discriminator_logits(seen).flatten().float()

    return logit


def scaled(logit: Judge) -> Judge:
    """The logit between -1, its least, and 1, its largest, over the points that are asked for."""

    def value(points: Tensor) -> Tensor:
        found = logit(points)
        low, high = found.aminmax()
        return 2 * (found - low) / (high - low).clamp_min(1e-12) - 1

    return value


def drive(model: Any, logit: Judge, points: Tensor) -> Tensor:
    """Where the generator's loss drives samples at points (N, 2): minus its gradient, each as if it were alone."""
    with torch.enable_grad():
        x = points.detach().requires_grad_()
        on_fake = logit(x)
        loss = model.gan_loss.generator(on_fake.detach(), on_fake) * len(x)
        [gradient] = torch.autograd.grad(loss, x)
    return -gradient

"""MeanFlow: a network learns the average velocity between two times, so that one step leads from noise to data.

Geng, Deng, Bai, Kolter & He, Mean Flows for One-step Generative Modeling, NeurIPS 2025 (arXiv:2505.13447).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from genlab.errors import ConfigError
from genlab.nn.diffusion.derivatives import jvp
from genlab.nn.diffusion.guidance import Guidance, GuidedModel, Steps, per_example
from genlab.nn.diffusion.solvers import evenly
from genlab.nn.diffusion.times import TimeDistribution, sample_times
from genlab.nn.layers.conditions import Conditions
from genlab.registry import MODELS, ClassLabel, Fraction, NonNegativeFloat, PositiveFloat

SMALL = 1e-3  # c of the adaptive weight


@MODELS("meanflow")
class MeanFlow(GuidedModel):
    """u(z, r, t) = 1/(t − r) ∫ v(z_τ, τ) dτ from r to t, on paths z_t = (1 − t) x + t ε from data to noise.

    Images are scaled to [-1, 1]. `time`, `time_mean` and `time_std` are the distribution of r and t; a fraction
    `interval_fraction` of the examples has r < t, the others r = t and thus the loss of flow matching. The weight of an
    example is 1 / (squared error + 10⁻³)^`adaptive_power`. With classes and a `training_guidance` ω other than 1 the
    velocity that is learned is guided, so that guided samples take one call of the network.
    """

    embedded: ClassVar = Conditions(time=True, times=2, time_scale=1)  # (t, t − r)

    def __init__(
        self,
        time: TimeDistribution = "logit_normal",
        time_mean: float = -0.4,
        time_std: PositiveFloat = 1.0,
        interval_fraction: Fraction = 0.25,
        adaptive_power: NonNegativeFloat = 1.0,
        training_guidance: NonNegativeFloat = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if self.of_points:
            self.monitor = "squared_error"  # the loss is weighted by itself
        self.time, self.time_mean, self.time_std = time, time_mean, time_std
        self.interval_fraction, self.adaptive_power = interval_fraction, adaptive_power
        self.training_guidance = training_guidance
        if training_guidance != 1:
            self.check_without_class("training_guidance other than 1")
            if not self.num_classes:
                raise ConfigError("guidance of the learned velocity needs classes", "key model.training_guidance",
                                  "add model.conditional=true")  # fmt: skip

    def check_batch(self, n: int) -> None:
        super().check_batch(n)
        if self.interval_fraction and not intervals(n, self.interval_fraction):
            raise ConfigError(f"a fraction of {self.interval_fraction:g} of a batch of {n} examples is none of them",
                              "key model.interval_fraction",
                              "use a larger batch or fraction, or a smaller trainer.grad_accum_steps")  # fmt: skip

    def loss(self, image: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """E w ‖u(z_t, r, t) − target‖², w the adaptive weight (equations 9 and 22)."""
        x = self.from_image(image)
        epsilon = self.normal(*x.shape)
        r, t = self.times(len(x), like=x)
        s = per_example(t, x)
        z, label = (1 - s) * x + s * epsilon, self.with_dropout(label)
        v = self.guided_velocity(z, t, epsilon - x, label)
        apart, together = interleaved(len(x), self.interval_fraction, like=t)
        parts = (self.interval_error, apart), (self.instant_error, together)
        error = torch.cat(
            [error_of(z[i], r[i], t[i], v[i], None if label is None else label[i]) for error_of, i in parts if len(i)]
        )
        weight = 1 / (error.detach() + SMALL) ** self.adaptive_power
        return {"loss": (weight * error).mean(), "squared_error": error.detach().mean()}

    def times(self, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """r ≤ t of n examples, each (n,)."""
        a, b = (sample_times(n, self.time, like, self.time_mean, self.time_std) for _ in range(2))
        return torch.minimum(a, b), torch.maximum(a, b)

    def interval_error(self, z: Tensor, r: Tensor, t: Tensor, v: Tensor, label: Tensor | None) -> Tensor:
        """‖u(z, r, t) − sg(v − (t − r) du/dt)‖², du/dt = v ∂u/∂z + ∂u/∂t, of each example (equations 9 to 11)."""
        along_path = v, torch.zeros_like(r), torch.ones_like(t)
        u, du_dt = jvp(lambda z, r, t: self.average(z, r, t, label), (z, r, t), along_path)
        return (u - (v - per_example(t - r, v) * du_dt).detach()).square().flatten(1).sum(1)

    def instant_error(self, z: Tensor, r: Tensor, t: Tensor, v: Tensor, label: Tensor | None) -> Tensor:
        """The same with r = t, which needs no derivative: ‖u(z, t, t) − v‖²."""
        return (self.average(z, t, t, label) - v).square().flatten(1).sum(1)

    def guided_velocity(self, z: Tensor, t: Tensor, v: Tensor, label: Tensor | None) -> Tensor:
        """ω v + (1 − ω) u(z, t, t, ∅), or v itself for examples without a class (equation 19)."""
        if label is None or self.training_guidance == 1:
            return v
        with torch.no_grad():
            plain = self.average(z, t, t, None)
        guided = self.training_guidance * v + (1 - self.training_guidance) * plain
        return torch.where(per_example(label.eq(self.num_classes or 0), v), v, guided)

    def average(self, z: Tensor, r: Tensor, t: Tensor, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """u(z, r, t), float32, at times (N,)."""
        return self.guided(z, torch.stack([t, t - r], 1), labels, guidance)

    def velocity(self, z: Tensor, t: float, guidance: float = 1.0, label: int | None = None) -> Tensor:
        """dz/dt at a time t that runs from noise to data, −u(z, 1 − t, 1 − t); of one class or of all in turn."""
        now = z.new_full((len(z),), 1 - t)
        return -self.average(z, now, now, self.labels(len(z), label, guidance, like=z), guidance)

    def path(self, n: int, steps: Steps = 1, guidance: Guidance = 1.0, label: ClassLabel = None) -> Iterator[Tensor]:
        """The states of n samples from noise to data, images in [-1, 1]: `steps` + 1 tensors (equation 12)."""
        z = self.normal(n, *self.image_shape)
        labels = self.labels(n, label, guidance, like=z)
        yield z
        for t, r in pairwise(evenly(1, 0, steps)):
            z = z - (t - r) * self.average(z, z.new_full((n,), r), z.new_full((n,), t), labels, guidance)
            yield z

    def posterior_mean(self, x: Tensor, sigma: float, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """z_t − t u(z_t, t, t) where the path has the noise level t / (1 − t) = σ: z_t = (1 − t) x."""
        t = sigma / (1 + sigma)
        z, times = (1 - t) * x, x.new_full((len(x),), t)
        return z - t * self.average(z, times, times, labels, guidance)


def intervals(n: int, fraction: float) -> int:
    """How many of n examples have an interval: a fraction, rounded to thousandths, of n, rounded down."""
    return n * round(1000 * fraction) // 1000


def interleaved(n: int, fraction: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets of positions of 0, ..., n − 1: `intervals(n, fraction)` of them, spaced evenly, and the others.

    Ranks whose batches hold a whole number of the first set choose the examples that one rank would.
    """
    thousandths = round(1000 * fraction)
    count = torch.arange(n + 1, device=like.device) * thousandths // 1000
    order = count.diff().argsort(descending=True, stable=True)  # as indices: a mask would make the host wait
    return order[: intervals(n, fraction)], order[intervals(n, fraction) :]

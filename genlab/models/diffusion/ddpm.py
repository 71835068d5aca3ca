"""Denoising diffusion: data is turned to noise in many small steps, and a network learns to undo each of them.

Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020 (arXiv:2006.11239). Fewer steps: Song, Meng &
Ermon, Denoising Diffusion Implicit Models, ICLR 2021 (arXiv:2010.02502). The target v: Salimans & Ho, Progressive
Distillation for Fast Sampling of Diffusion Models, ICLR 2022 (arXiv:2202.00512).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from pydantic import Field
from torch import Tensor

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.nn.diffusion.guidance import Guidance, GuidedModel, Steps, per_example
from genlab.nn.diffusion.schedules import NoiseSchedule, alpha_bars
from genlab.registry import MODELS, ClassLabel, Fraction

Target = Literal["epsilon", "x0", "v"]
Timesteps = Annotated[int, Ge(1), Le(100_000)]
Eta = Annotated[Fraction, Field(description="noise added at each step: 0 none (DDIM), 1 as much as in DDPM")]


@MODELS("ddpm")
class DDPM(GuidedModel):
    """q(x_t|x₀) = N(√ᾱ_t x₀, (1 − ᾱ_t) I) for t = 1, ..., T; images are scaled to [-1, 1].

    The network sees x_t and t, and predicts the `target`: the noise ε, the data x₀, or v = √ᾱ ε − √(1 − ᾱ) x₀. The
    loss is the squared error of the target; for ε it is L_simple.
    """

    signal: Tensor  # √ᾱ_t for t = 0, ..., T
    noise: Tensor  # √(1 − ᾱ_t)

    def __init__(
        self,
        timesteps: Timesteps = 1000,
        noise_schedule: NoiseSchedule = "linear",
        target: Target = "epsilon",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.target = target
        self.alpha_bar = alpha_bars(noise_schedule, timesteps)
        alpha_bar = torch.tensor(self.alpha_bar, dtype=torch.float64)
        levels = [(1 / each - 1) ** 0.5 for each in self.alpha_bar[1:]]  # σ of x / √ᾱ
        self.midpoints = [(low * high) ** 0.5 for low, high in pairwise(levels)]  # halfway between their logarithms
        self.register_buffer("signal", alpha_bar.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - alpha_bar).sqrt().float(), persistent=False)

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.alpha_bar) - 1

    def loss(self, image: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """E‖ε − ε_θ(√ᾱ_t x₀ + √(1 − ᾱ_t) ε, t)‖² with t uniform in 1, ..., T (equation 14), or that of the target."""
        x0 = self.from_image(image)
        epsilon = self.normal(*x0.shape)
        t = 1 + (self.timesteps * rng.uniform(len(x0), like=x0)).long().clamp(max=self.timesteps - 1)
        signal, noise = per_example(self.signal[t], x0), per_example(self.noise[t], x0)
        prediction = self.guided(signal * x0 + noise * epsilon, t / self.timesteps, self.with_dropout(label))
        target = {"epsilon": epsilon, "x0": x0, "v": signal * epsilon - noise * x0}[self.target]
        return {"loss": (prediction - target).square().flatten(1).sum(1).mean()}

    def path(
        self, n: int, steps: Steps = 50, eta: Eta = 0.0, guidance: Guidance = 1.0, label: ClassLabel = None
    ) -> Iterator[Tensor]:
        """The states of n samples from noise to data, images in [-1, 1]: `steps` + 1 tensors.

        With as many `steps` as `timesteps` and `eta` = 1 this is the ancestral sampling of algorithm 2, with the
        variance of the posterior q(x_{t-1}|x_t, x₀).
        """
        x = self.normal(n, *self.image_shape)
        labels = self.labels(n, label, guidance, like=x)
        yield x
        for t, s in pairwise(self.subset(steps)):
            x0, epsilon = self.denoised(x, t, labels, guidance)
            x = ddim_step(x0, epsilon, self.alpha_bar[t], self.alpha_bar[s], eta)
            yield x

    def subset(self, steps: int) -> list[int]:
        """`steps` + 1 of the times T, ..., 0, evenly spaced; ConfigError if there are not so many."""
        if steps > self.timesteps:
            raise ConfigError(
                f"the model has {self.timesteps} steps", f"steps={steps}", f"give steps={self.timesteps} or fewer"
            )
        return [round(self.timesteps * (steps - i) / steps) for i in range(steps + 1)]

    def denoised(self, x: Tensor, t: int, labels: Tensor | None, guidance: float = 1.0) -> tuple[Tensor, Tensor]:
        """The predictions of x₀, of images kept in [-1, 1], and of ε, with x = √ᾱ_t x₀ + √(1 − ᾱ_t) ε."""
        signal, noise = self.alpha_bar[t] ** 0.5, (1 - self.alpha_bar[t]) ** 0.5
        predicted = self.guided(x, t / self.timesteps, labels, guidance)
        if self.target == "epsilon":
            x0 = (x - noise * predicted) / signal
        else:
            x0 = predicted if self.target == "x0" else signal * x - noise * predicted
        if not self.of_points:
            x0 = x0.clamp(-1, 1)
        return x0, (x - signal * x0) / noise

    def posterior_mean(self, x: Tensor, sigma: float, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """The prediction of x₀ at the time whose noise level √(1 − ᾱ_t) / √ᾱ_t has the logarithm nearest to ln σ."""
        t = 1 + bisect(self.midpoints, sigma)
        x0, _ = self.denoised(x / (1 + sigma**2) ** 0.5, t, labels, guidance)
        return x0


def ddim_step(x0: Tensor, epsilon: Tensor, now: float, then: float, eta: float) -> Tensor:
    """A step of Song, Meng & Ermon (2021), equation 12, from ᾱ = `now` to the larger ᾱ = `then`."""
    sigma = eta * ((1 - then) / (1 - now) * (1 - now / then)) ** 0.5  # equation 16
    x: Tensor = then**0.5 * x0 + max(0.0, 1 - then - sigma**2) ** 0.5 * epsilon
    return x + sigma * rng.normal(*x.shape, like=x) if sigma > 0 else x

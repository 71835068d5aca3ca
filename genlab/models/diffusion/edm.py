"""EDM: a denoiser D(x; σ) whose network has inputs and targets of unit variance at every noise level σ.

Karras, Aittala, Aila & Laine, Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS 2022
(arXiv:2206.00364).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from genlab.core import rng
from genlab.nn.diffusion.guidance import Guidance, GuidedModel, Steps, per_example
from genlab.nn.diffusion.schedules import noise_levels
from genlab.nn.layers.conditions import Conditions
from genlab.registry import MODELS, ClassLabel, NonNegativeFloat, PositiveFloat

Solver = Annotated[
    Literal["euler", "heun"], Field(description="heun calls the network twice in all steps but the last")
]
Churn = Annotated[NonNegativeFloat, Field(description="S_churn: noise added at each step; 0: no noise, an ODE")]


@MODELS("edm")
class EDM(GuidedModel):
    """D(x; σ) = c_skip(σ) x + c_out(σ) F(c_in(σ) x, c_noise(σ)) is the mean of data y given x = y + σ · noise.

    In training ln σ ~ N(`p_mean`, `p_std`²). `sigma_data` is the standard deviation of the data; images are scaled to
    [-1, 1]. Samples start at `sigma_max` and end at 0 after `sigma_min`, at levels that `rho` spaces.
    """

    embedded: ClassVar = Conditions(time=True, time_scale=1)  # c_noise as it is

    def __init__(
        self,
        sigma_data: PositiveFloat = 0.5,
        p_mean: float = -1.2,
        p_std: PositiveFloat = 1.2,
        sigma_min: PositiveFloat = 0.002,
        sigma_max: PositiveFloat = 80.0,
        rho: PositiveFloat = 7.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.sigma_data, self.p_mean, self.p_std = sigma_data, p_mean, p_std
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho

    def loss(self, image: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """E λ(σ) ‖D(y + σ · noise; σ) − y‖² with λ = 1 / c_out² (equation 8 and table 1)."""
        y = self.from_image(image)
        sigma = (self.p_mean + self.p_std * rng.normal(len(y), like=y)).exp()
        x = y + per_example(sigma, y) * self.normal(*y.shape)
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        error = self.denoised(x, sigma, self.with_dropout(label)) - y
        return {"loss": (weight * error.square().flatten(1).sum(1)).mean()}

    def denoised(self, x: Tensor, sigma: Tensor, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """D(x; σ) of noisy data (N, ...) and noise levels (N,) (equation 7)."""
        c_skip, c_out, c_in, c_noise = self.preconditioning(sigma)
        network = self.guided(per_example(c_in, x) * x, c_noise, labels, guidance)
        return per_example(c_skip, x) * x + per_example(c_out, x) * network

    def posterior_mean(self, x: Tensor, sigma: float, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        return self.denoised(x, x.new_full((len(x),), sigma), labels, guidance)

    def preconditioning(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in and c_noise of noise levels σ (table 1)."""
        total = sigma**2 + self.sigma_data**2
        return self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt(), total.rsqrt(), sigma.log() / 4

    def path(
        self,
        n: int,
        steps: Steps = 18,
        solver: Solver = "heun",
        churn: Churn = 0.0,
        guidance: Guidance = 1.0,
        label: ClassLabel = None,
    ) -> Iterator[Tensor]:
        """The states of n samples from noise of σ = `sigma_max` to data: `steps` + 1 tensors (algorithm 2)."""
        levels = noise_levels(self.sigma_max, self.sigma_min, steps, self.rho)
        x = levels[0] * self.normal(n, *self.image_shape)
        labels = self.labels(n, label, guidance, like=x)

        def slope(x: Tensor, sigma: float) -> Tensor:
            """dx/dσ (equation 3 with σ(t) = t)."""
            return (x - self.posterior_mean(x, sigma, labels, guidance)) / sigma

        yield x
        for sigma, after in pairwise(levels):
            raised = sigma * (1 + min(churn / steps, 2**0.5 - 1))
            if raised > sigma:
                x = x + (raised**2 - sigma**2) ** 0.5 * self.normal(*x.shape)
            step, d = after - raised, slope(x, raised)
            if solver == "heun" and after > 0:
                d = (d + slope(x + step * d, after)) / 2
            x = x + step * d
            yield x

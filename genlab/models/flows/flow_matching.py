"""Flow matching: a network learns the velocity of straight paths from noise to data; samples follow it.

Lipman, Chen, Ben-Hamu, Nickel & Le, Flow Matching for Generative Modeling, ICLR 2023 (arXiv:2210.02747), the optimal
transport path of section 4.1 with σ_min = 0; the same as Liu, Gong & Liu, Flow Straight and Fast: Learning to Generate
and Transfer Data with Rectified Flow, ICLR 2023 (arXiv:2209.03003). Pairs of noise and data by optimal transport: Tong
et al., Improving and Generalizing Flow-Based Generative Models, TMLR 2024 (arXiv:2302.00482).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor

from genlab.core.model import LikelihoodKind, LikelihoodOf
from genlab.errors import ConfigError
from genlab.nn.diffusion.coupling import optimally_paired
from genlab.nn.diffusion.density import log_density
from genlab.nn.diffusion.guidance import Guidance, GuidedModel, Steps, per_example
from genlab.nn.diffusion.solvers import Solver, evenly, solve
from genlab.nn.diffusion.times import TimeDistribution, sample_times
from genlab.nn.losses.dequantization import dequantize, per_level
from genlab.registry import MODELS, ClassLabel, PositiveInt


@MODELS("flow_matching")
class FlowMatching(GuidedModel):
    """v(x, t) is the velocity of dx/dt = v from x₀ ~ N(0, I) at t = 0 to data at t = 1; images are scaled to [-1, 1].

    In training, `time` is the distribution of t. With `ot_group` noise is assigned to data by optimal transport among
    so many examples, which makes paths straighter; not with `conditional`, where each class would get noise of its own,
    while its samples start from all noise. `dequantize` adds noise as wide as a gray level to images, without which
    their log-likelihood means little.
    """

    likelihood_kind: LikelihoodKind
    likelihood_of: LikelihoodOf
    likelihood_steps: ClassVar[int] = 25  # of RK4, each with four derivatives of the network

    def __init__(
        self,
        time: TimeDistribution = "uniform",
        ot_group: PositiveInt | None = None,
        dequantize: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if ot_group and self.num_classes:
            raise ConfigError("optimal transport gives each class noise of its own; its samples start from all",
                              "keys model.ot_group and model.conditional", "use model.ot_group=null")  # fmt: skip
        self.time, self.ot_group, self.dequantize = time, ot_group, dequantize
        self.likelihood_kind = "exact" if self.of_points else "estimate"
        self.likelihood_of = "density" if self.of_points else "dequantized"

    def check_batch(self, n: int) -> None:
        super().check_batch(n)
        if self.ot_group and n % self.ot_group:
            raise ConfigError(f"a batch of {n} examples cannot be divided into groups of {self.ot_group}",
                              "key model.ot_group", "choose a divisor of the batch of each process")  # fmt: skip

    def loss(self, image: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """E‖v(x_t, t) − (x₁ − x₀)‖² at x_t = (1 − t) x₀ + t x₁ (equation 23)."""
        x1 = self.from_image(self.observe(image) if self.dequantize else image)
        x0 = self.normal(*x1.shape)
        if self.ot_group:
            x0 = optimally_paired(x0, x1, self.ot_group)
        t = sample_times(len(x1), self.time, like=x1)
        s = per_example(t, x1)
        v = self.guided((1 - s) * x0 + s * x1, t, self.with_dropout(label))
        return {"loss": (v - (x1 - x0)).square().flatten(1).sum(1).mean()}

    def path(
        self, n: int, steps: Steps = 20, solver: Solver = "heun", guidance: Guidance = 1.0, label: ClassLabel = None
    ) -> Iterator[Tensor]:
        """The states of n samples from noise to data, images in [-1, 1]: `steps` + 1 tensors."""
        x = self.normal(n, *self.image_shape)
        return solve(lambda x, t: self.velocity(x, t, guidance, label), x, evenly(0, 1, steps), solver)

    def velocity(self, x: Tensor, t: float, guidance: float = 1.0, label: ClassLabel = None) -> Tensor:
        """v(x, t) of states of class `label`, or of all classes in turn."""
        return self.guided(x, t, self.labels(len(x), label, guidance, like=x), guidance)

    def posterior_mean(self, x: Tensor, sigma: float, labels: Tensor | None, guidance: float = 1.0) -> Tensor:
        """x_t + (1 − t) v(x_t, t) where the path has the noise level (1 − t) / t = σ: x_t = t x."""
        t = 1 / (1 + sigma)
        return t * x + (1 - t) * self.guided(t * x, t, labels, guidance)

    def observe(self, image: Tensor) -> Tensor:
        """Images with uniform noise as wide as one of 256 levels; points unchanged."""
        return image if self.of_points else dequantize(image)

    def likelihood_notes(self) -> dict[str, Any]:
        """How log p(x) is computed; ConfigError for a model of classes that has not learned p(x) without one."""
        self.check_without_class("log p(x)")
        notes: dict[str, Any] = {"solver": "rk4", "steps": self.likelihood_steps}
        return {**notes, "class": "none"} if self.num_classes else notes

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x), (N,) in nats, without a class, `x` as from `observe`; of images, a level has the volume 1.

        Of points up to the error of the solver; of images with an estimate of the divergence.
        """
        y = self.from_image(x)
        density = log_density(lambda y, t: self.guided(y, t, None), y, self.likelihood_steps, exact=self.of_points)
        dimensions = y[0].numel()
        return density if self.of_points else per_level(density + dimensions * math.log(2), dimensions)

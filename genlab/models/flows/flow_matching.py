"""Flow matching: a network learns the velocity of straight paths from noise to data; samples follow it.

Lipman, Chen, Ben-Hamu, Nickel & Le, Flow Matching for Generative Modeling, ICLR 2023 (arXiv:2210.02747), the optimal
transport path of section 4.1 with σ_min = 0; the same as Liu, Gong & Liu, Flow Straight and Fast: Learning to Generate
and Transfer Data with Rectified Flow, ICLR 2023 (arXiv:2209.03003).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from genlab.nn.diffusion.guidance import Guidance, GuidedModel, Steps, per_example
from genlab.nn.diffusion.solvers import Solver, evenly, last, solve
from genlab.nn.diffusion.times import TimeDistribution, sample_times
from genlab.registry import MODELS, ClassLabel


@MODELS("flow_matching")
class FlowMatching(GuidedModel):
    """v(x, t) is the velocity of dx/dt = v from x₀ ~ N(0, I) at t = 0 to data at t = 1; images are scaled to [-1, 1].

    `time` is the distribution of t in training.
    """

    def __init__(self, time: TimeDistribution = "uniform", **options: Any) -> None:
        super().__init__(**options)
        self.time = time

    def loss(self, image: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """E‖v(x_t, t) − (x₁ − x₀)‖² at x_t = (1 − t) x₀ + t x₁ (equation 23)."""
        x1 = self.from_image(image)
        x0 = self.normal(*x1.shape)
        t = sample_times(len(x1), self.time, like=x1)
        s = per_example(t, x1)
        v = self.guided((1 - s) * x0 + s * x1, t, self.with_dropout(label))
        return {"loss": (v - (x1 - x0)).square().flatten(1).sum(1).mean()}

    def sample(
        self, n: int, steps: Steps = 20, solver: Solver = "heun", guidance: Guidance = 1.0, label: ClassLabel = None
    ) -> Tensor:
        """n samples: images in [0, 1], or points; of class `label`, or of all classes in turn."""
        return self.to_image(last(self.path(n, steps, solver, guidance, label)))

    def path(
        self, n: int, steps: Steps = 20, solver: Solver = "heun", guidance: Guidance = 1.0, label: ClassLabel = None
    ) -> Iterator[Tensor]:
        """The states of n samples from noise to data, images in [-1, 1]: `steps` + 1 tensors."""
        x = self.normal(n, *self.image_shape)
        labels = self.labels(n, label, guidance, like=x)
        return solve(lambda x, t: self.guided(x, t, labels, guidance), x, evenly(0, 1, steps), solver)

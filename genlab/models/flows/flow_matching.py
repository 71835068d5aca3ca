"""Flow matching: a network learns the velocity of straight paths from noise to data; samples follow it.

Lipman, Chen, Ben-Hamu, Nickel & Le, Flow Matching for Generative Modeling, ICLR 2023 (arXiv:2210.02747), the optimal
transport path of section 4.1 with σ_min = 0. Guidance: Ho & Salimans, Classifier-Free Diffusion Guidance, 2022
(arXiv:2207.12598), for velocities as in Zheng et al., Guided Flows, 2023 (arXiv:2311.13443).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from genlab.core import rng
from genlab.core.model import Model, Shape
from genlab.errors import ConfigError
from genlab.nn.layers.conditions import Conditions
from genlab.nn.layers.labels import in_turn, needed
from genlab.registry import (
    MODELS,
    NETWORKS,
    ClassLabel,
    ConditionedNetworkSpec,
    Fraction,
    NonNegativeFloat,
    PositiveInt,
)

Steps = Annotated[PositiveInt, Field(description="of the ODE solver; heun evaluates the network twice in each")]
Solver = Annotated[Literal["euler", "heun"], Field(description="heun: second order")]
Guidance = Annotated[NonNegativeFloat, Field(description="weight of the class: 0 ignores it, above 1 exaggerates it")]


@MODELS("flow_matching")
class FlowMatching(Model):
    """v(x, t) is the velocity of dx/dt = v from x₀ ~ N(0, I) at t = 0 to data at t = 1; images are scaled to [-1, 1].

    With `conditional` the network also takes the class, which is hidden from it for a fraction `label_dropout` of the
    examples, so that samples can be guided.
    """

    points: ClassVar = {}

    def __init__(
        self,
        image_shape: Shape,
        network: ConditionedNetworkSpec,
        num_classes: int | None = None,
        conditional: bool = False,
        label_dropout: Fraction = 0.1,
    ) -> None:
        super().__init__()
        self.image_shape, self.label_dropout = image_shape, label_dropout
        self.num_classes = needed(num_classes, "flow_matching") if conditional else None
        self.inputs = ("image", "label") if conditional else ("image",)
        self.of_points = image_shape[1:] == (1, 1)
        conditions = Conditions(time=True, num_classes=self.num_classes)
        self.velocity = NETWORKS.build(
            network, "model.network", inp=image_shape, out=image_shape, conditions=conditions
        )

    def loss(self, image: Tensor, label: Tensor | None = None) -> dict[str, Tensor]:
        """E‖v(x_t, t) − (x₁ − x₀)‖² at x_t = (1 − t) x₀ + t x₁, t uniform in [0, 1] (equation 23)."""
        x1 = image if self.of_points else 2 * image - 1
        x0 = self.normal(*x1.shape)
        t = rng.uniform(len(x1), like=x1)
        s = t[:, None, None, None]
        if label is not None and self.num_classes:
            label = label.masked_fill(rng.uniform(len(x1), like=x1) < self.label_dropout, self.num_classes)
        error = self.velocity((1 - s) * x0 + s * x1, t, label).float() - (x1 - x0)
        return {"loss": error.square().flatten(1).sum(1).mean()}

    def sample(
        self, n: int, steps: Steps = 20, solver: Solver = "heun", guidance: Guidance = 1.0, label: ClassLabel = None
    ) -> Tensor:
        """n samples: images in [0, 1], or points; of class `label`, or of all classes in turn."""
        x = self.normal(n, *self.image_shape)
        if self.num_classes:
            labels = in_turn(n, self.num_classes, label, like=x)
        elif label is not None or guidance != 1:
            hint = "train with model.conditional=true"
            raise ConfigError("the model was trained without classes", "keys label and guidance", hint)
        else:
            labels = None
        times = torch.linspace(0, 1, steps + 1).tolist()
        for t, after in pairwise(times):
            step, v = after - t, self._guided(x, t, labels, guidance)
            if solver == "heun":
                v = (v + self._guided(x + step * v, after, labels, guidance)) / 2
            x = x + step * v
        return x if self.of_points else ((x + 1) / 2).clamp(0, 1)

    def _guided(self, x: Tensor, t: float, labels: Tensor | None, guidance: float) -> Tensor:
        """v(x, t, ∅) + guidance · (v(x, t, label) − v(x, t, ∅))."""
        time = x.new_full((len(x),), t)
        conditional: Tensor = self.velocity(x, time, labels).float()
        if guidance == 1:
            return conditional
        plain = self.velocity(x, time).float()
        return plain + guidance * (conditional - plain)

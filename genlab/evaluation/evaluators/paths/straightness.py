"""How straight the paths of a flow from noise to data are: straight paths need one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from genlab.core.evaluator import Evaluator
from genlab.core.model import HasVelocity
from genlab.core.values import Value
from genlab.nn.diffusion.solvers import Velocity, evenly, solve
from genlab.registry import EVALUATORS, PositiveInt


@EVALUATORS("straightness")
@dataclass
class Straightness(Evaluator):
    """`straightness` S(Z) = ∫ E‖(Z₁ − Z₀) − dZ_t/dt‖² dt along the model's own paths Z, 0 if all are straight and of
    constant speed; `straightness_relative` = S(Z) / E‖Z₁ − Z₀‖².

    Liu, Gong & Liu, Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow, ICLR 2023
    (arXiv:2209.03003), sections 2.2 and 3.3. The paper reports S(Z) as it is, which grows with the dimension; relative
    values of different data can be compared. Images are scaled to [-1, 1].
    """

    n: PositiveInt = 500
    steps: PositiveInt = 50
    batch_size: PositiveInt = 100

    split = None
    needs = (HasVelocity,)
    notes = {"straightness": "mean over time and samples of ‖(x₁ − x₀) − v(x_t, t)‖², on paths by the midpoint rule"}

    def run(self, model: Any, split: None) -> Iterator[tuple[str, Value]]:
        parts = [self.batch_size] * (self.n // self.batch_size) + [self.n % self.batch_size]
        found = [deviation(model.velocity, next(model.path(n)), self.steps) for n in parts if n]
        bent, length = (torch.cat(each) for each in zip(*found, strict=True))
        yield "straightness", bent.mean()
        if self.n > 1:
            yield "straightness_se", bent.std() / self.n**0.5
        yield "straightness_relative", bent.mean() / length.mean()


def deviation(velocity: Velocity, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """∫ ‖(x₁ − x₀) − v(x_t, t)‖² dt and ‖x₁ − x₀‖², each (N,) float64, of paths from x (N, ...) at t = 0.

    x₁ − x₀ is the mean of the velocity, so that the first is E‖v‖² − ‖E v‖² over time.
    """
    mean, square = torch.zeros_like(x, dtype=torch.float64), x.new_zeros(len(x), dtype=torch.float64)
    for before, after in pairwise(solve(velocity, x, evenly(0, 1, steps), "midpoint")):
        v = (after.double() - before.double()) * steps  # the velocity in the middle of the step
        mean += v / steps
        square += v.square().flatten(1).sum(1) / steps
    length = mean.square().flatten(1).sum(1)
    return (square - length).clamp_min(0), length

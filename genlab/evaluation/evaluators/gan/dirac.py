"""The Dirac-GAN compared with its theory: the two parameters, and the gradient field around the equilibrium.

Mescheder, Geiger & Nowozin, Which Training Methods for GANs do actually Converge?, ICML 2018 (arXiv:1801.04406).
"""

from __future__ import annotations

import cmath
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.evaluator import Evaluator
from genlab.core.model import Model, Phase
from genlab.core.values import Value
from genlab.data.dataset import Split
from genlab.errors import ConfigError
from genlab.nn.losses.adversarial import GAN_LOSSES
from genlab.nn.networks.gans.dirac import DiracDiscriminator, DiracGenerator
from genlab.registry import EVALUATORS, NonNegativeInt, PositiveFloat, PositiveInt
from genlab.reports.vector_field import Window, plot

# f'(0) and f''(0) of the function f that a GAN loss applies to the logit ψθ: L(θ, ψ) = f(ψθ) + const
SLOPES = {
    "minimax": (0.5, -0.25),
    "non_saturating": (0.5, -0.25),
    "relativistic": (0.5, -0.25),
    "wasserstein": (1.0, 0.0),
    "hinge": (1.0, 0.0),
}
BATCH = 2_000
STEP = 0.02  # of the central differences


@EVALUATORS("dirac")
@dataclass
class DiracEvaluator(Evaluator):
    """`theta`, `psi`, their `distance` to the equilibrium (0, 0), and the eigenvalues there of the Jacobian of v(θ, ψ).

    v is minus the gradient of each network's loss in its own parameter, by autograd through the phases' objectives,
    averaged over steps. The Jacobian uses central differences, because each network detaches the other's output.
    Gradient descent with small steps converges near the equilibrium if every real part is negative. `theory_*` are the
    paper's eigenvalues, where it has them. The plot shows v, and descent by `rate` from (1, 1), θ across and ψ up.
    """

    n: PositiveInt = 100_000
    steps: NonNegativeInt = 500
    rate: PositiveFloat = 0.1

    notes = {"jacobian": f"central differences of {STEP} of the mean gradients of n points", "batch_size": BATCH}

    def applies(self, model: Model) -> bool:
        networks = getattr(model, "generator", None), getattr(model, "discriminator", None)
        return isinstance(networks[0], DiracGenerator) and isinstance(networks[1], DiracDiscriminator)

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        [point] = split.take(1, ("image",))
        if not split.points or point.numel() != 1:
            raise ConfigError(
                "θ and ψ are one number each only for points on a line", "evaluator dirac", "use dataset=dirac"
            )
        state = DiracState(model, point)
        theta, psi = state.get()
        yield from (("theta", theta), ("psi", psi), ("distance", abs(complex(theta, psi))))
        if "gradient_penalty" not in state.model.regularizers.penalties:  # (|ψ| − 1)² has no derivative at 0
            yield from named("eigenvalue", eigenvalues(state.jacobian(self.n)))
        if known := theory(model):
            yield from named("theory", known)
        path = state.descend((1.0, 1.0), self.steps, self.rate)
        yield "distance_from_1_1", float(path[-1].norm())
        half = max(1.5, 1.1 * min(10.0, float(path.abs().max())))
        # a red dot inside a black one if the path ends at 0
        marks = [(path[-1:], (0, 0, 0), 5.0), (torch.zeros(1, 2), (200, 0, 0), 3.5)]
        yield "dirac", plot(Window((-half, -half), (half, half)), None, state.field, (), path, marks, grid=16)


class DiracState:
    """A copy of a Dirac-GAN whose parameters can be set, with the velocity there; all data equal `point`."""

    model: Any

    def __init__(self, model: Model, point: Tensor) -> None:
        self.model = copy.deepcopy(model).requires_grad_(True)
        self.parameters = [self.model.generator.theta, self.model.discriminator.psi]
        self.point = point

    def get(self) -> tuple[float, float]:
        theta, psi = (float(number.detach().sum()) for number in self.parameters)
        return theta, psi

    @torch.no_grad()
    def set(self, theta: float, psi: float) -> None:
        for number, value in zip(self.parameters, (theta, psi), strict=True):
            number.fill_(value)

    def velocity(self) -> Tensor:
        """v (2,): the change of (θ, ψ) in a step of learning rate 1, averaged over steps."""
        moved = torch.zeros(2)
        with torch.enable_grad():
            drawn = self.model.shared_forward(self.point.expand(BATCH, *self.point.shape[1:]))
            for phase in self.model.phases():
                if phase.module is not None:
                    moved -= self.gradient(phase.objective(*drawn)["loss"], phase.module) / phase.every
        return moved

    def gradient(self, loss: Tensor, network: nn.Module) -> Tensor:
        """The gradient (2,) of a loss in the parameter of this network alone."""
        own = {id(p) for p in network.parameters()}
        parts = torch.autograd.grad(loss, self.parameters, retain_graph=True, allow_unused=True)
        return torch.stack([
            part.sum().cpu() if part is not None and id(number) in own else torch.zeros(())
            for number, part in zip(self.parameters, parts, strict=True)
        ])  # fmt: skip

    def jacobian(self, n: int) -> Tensor:
        """∂v/∂(θ, ψ) (2, 2) at (0, 0), with the same noise everywhere."""
        columns = []
        for theta, psi in ((STEP, 0.0), (0.0, STEP)):
            ahead, behind = self.mean_velocity(theta, psi, n), self.mean_velocity(-theta, -psi, n)
            columns.append((ahead - behind) / (2 * STEP))
        return torch.stack(columns, 1)

    def mean_velocity(self, theta: float, psi: float, n: int) -> Tensor:
        self.set(theta, psi)
        rng.fold_in(0)
        return torch.stack([self.velocity() for _ in range(0, n, BATCH)]).mean(0)

    def field(self, points: Tensor) -> Tensor:
        """v (N, 2) at points (N, 2)."""
        velocities = []
        for theta, psi in points.tolist():
            self.set(theta, psi)
            velocities.append(self.velocity())
        return torch.stack(velocities)

    def descend(self, start: tuple[float, float], steps: int, rate: float) -> Tensor:
        """The path (steps + 1, 2) of alternating updates, as in training."""
        self.set(*start)
        path = [self.get()]
        for step in range(steps):
            self._step(step, rate)
            path.append(self.get())
        return torch.tensor(path)

    def _step(self, step: int, rate: float) -> None:
        with torch.enable_grad():
            drawn = self.model.shared_forward(self.point.expand(BATCH, *self.point.shape[1:]))
        for phase in self.model.phases():
            if (step + 1) % phase.every:
                continue
            if phase.module is None:
                self._update(phase, drawn)
                continue
            with torch.enable_grad():
                gradient = self.gradient(phase.objective(*drawn)["loss"], phase.module)
            with torch.no_grad():
                for number, part in zip(self.parameters, gradient, strict=True):
                    number -= rate * part

    @torch.no_grad()
    def _update(self, phase: Phase, drawn: Sequence[Tensor]) -> None:
        """Run a phase that changes the parameters itself (clipping), which it does only in training mode.

        The losses are computed in evaluation mode: in training mode some are means over all ranks.
        """
        self.model.train()
        phase.objective(*drawn)
        self.model.eval()


def eigenvalues(jacobian: Tensor) -> list[complex]:
    """Both eigenvalues, the larger real part first, then the larger imaginary part."""
    found = [complex(value) for value in torch.linalg.eigvals(jacobian.double()).tolist()]
    return sorted(found, key=lambda value: (-round(value.real, 9), -value.imag))


def theory(model: Any) -> list[complex] | None:
    """The eigenvalues at (0, 0) of diag(1/n, 1)·J − diag(0, γ), n the number of critic steps; None where unknown.

    J = [[0, a], [−a, −c]], a = f'(0), c = −2f''(0)σ² with instance noise; γ is the weight of R1 or R2. Without any of
    these the roots are imaginary. Consensus optimization (Mescheder, Nowozin & Geiger 2017) replaces J by J − γ'JᵀJ:
    γ' weighs the losses without penalties, and the generator descends it in its own updates.
    """
    name = next((name for name, gan_loss in GAN_LOSSES.items() if gan_loss is model.gan_loss), None)
    used = model.regularizers
    others = used.smoothing or used.pack or used.clip or used.unroll or model.augment
    if name not in SLOPES or used.penalties.keys() - {"r1", "r2"} or others:
        return None
    slope, curvature = SLOPES[name]
    blur = 2 * curvature * used.noise.sigma**2 if used.noise and not used.noise.anneal else 0.0
    turn = torch.tensor([[0, slope], [-slope, blur]], dtype=torch.float64)
    if used.consensus:
        turn = turn - used.consensus.weight * turn.T @ turn
    turn[0] /= model.critic_steps
    turn[1, 1] -= sum(penalty.weight for penalty in used.penalties.values())
    trace, determinant = float(turn.trace()), float(torch.linalg.det(turn))
    root = cmath.sqrt(trace**2 / 4 - determinant)
    return [trace / 2 + root, trace / 2 - root]


def named(kind: str, values: list[complex]) -> Iterator[tuple[str, float]]:
    for number, value in enumerate(values, 1):
        yield f"{kind}_{number}_real", value.real
        yield f"{kind}_{number}_imaginary", value.imag

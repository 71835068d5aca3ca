"""The Dirac-GAN against its theory: where the two numbers are, and how the gradient field turns around the equilibrium.

Mescheder, Geiger & Nowozin, Which Training Methods for GANs do actually Converge?, ICML 2018 (arXiv:1801.04406).
"""

from __future__ import annotations

import cmath
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genlab.core import rng
from genlab.core.evaluator import Evaluator
from genlab.core.model import Model, Phase
from genlab.core.values import Value
from genlab.errors import ConfigError
from genlab.nn.losses.adversarial import GAN_LOSSES
from genlab.nn.networks.dirac import DiracDiscriminator, DiracGenerator
from genlab.registry import EVALUATORS, Duration, NonNegativeInt, PositiveFloat, PositiveInt
from genlab.reports.vector_field import Window, picture

if TYPE_CHECKING:
    from genlab.data.dataset import Split

# f'(0) and f''(0) of the loss f that a game applies to the logit ψθ, so that it is L(θ, ψ) = f(ψθ) + const
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

    v is minus each loss's gradient in its own player's number, by autograd through the phases' objectives, as they are
    on average over steps; the Jacobian is of central differences, for players detach each other's work. Gradient
    descent of small steps converges near the equilibrium if every real part is negative. `theory_*` are the paper's,
    where it has them. The picture shows v, and descent by `rate` from (1, 1), θ across and ψ upwards.
    """

    n: PositiveInt = 100_000
    steps: NonNegativeInt = 500
    rate: PositiveFloat = 0.1
    every: Duration | None = None

    notes = {"jacobian": f"central differences of {STEP} of the mean gradients of n points", "batch_size": BATCH}

    def applies(self, model: Model) -> bool:
        networks = getattr(model, "generator", None), getattr(model, "discriminator", None)
        return isinstance(networks[0], DiracGenerator) and isinstance(networks[1], DiracDiscriminator)

    def run(self, model: Model, split: Split) -> Iterator[tuple[str, Value]]:
        [point] = split.first(1, ("image",))
        if not split.points or point.numel() != 1:
            raise ConfigError("θ and ψ are one number each on a line alone", "evaluator dirac", "use dataset=dirac")
        game = Players(model, point)
        theta, psi = game.place()
        yield from (("theta", theta), ("psi", psi), ("distance", abs(complex(theta, psi))))
        if "gradient_penalty" not in game.model.regularizers.penalties:  # (|ψ| − 1)² has no derivative at 0
            yield from named("eigenvalue", eigenvalues(game.jacobian(self.n)))
        if known := theory(model):
            yield from named("theory", known)
        path = game.descend((1.0, 1.0), self.steps, self.rate)
        yield "distance_from_1_1", float(path[-1].norm())
        half = max(1.5, 1.1 * min(10.0, float(path.abs().max())))
        # red in black where the path ends at 0
        marks = [(path[-1:], (0, 0, 0), 5.0), (torch.zeros(1, 2), (200, 0, 0), 3.5)]
        yield "dirac", picture(Window((-half, -half), (half, half)), None, game.field, (), path, marks, grid=16)


class Players:
    """A copy of a Dirac-GAN that can be set anywhere and asked where it would go; data are copies of `point`."""

    model: Any

    def __init__(self, model: Model, point: Tensor) -> None:
        self.model = copy.deepcopy(model).requires_grad_(True)
        self.numbers = [self.model.generator.theta, self.model.discriminator.psi]
        self.point = point

    def place(self) -> tuple[float, float]:
        theta, psi = (float(number.detach().sum()) for number in self.numbers)
        return theta, psi

    @torch.no_grad()
    def put(self, theta: float, psi: float) -> None:
        for number, value in zip(self.numbers, (theta, psi), strict=True):
            number.fill_(value)

    def velocity(self) -> Tensor:
        """v (2,): what a step of rate 1 would change (θ, ψ) by, on average over steps."""
        moved = torch.zeros(2)
        with torch.enable_grad():
            drawn = self.model.shared_forward(self.point.expand(BATCH, *self.point.shape[1:]))
            for phase in self.model.phases():
                if phase.module is not None:
                    moved -= self.gradient(phase.objective(*drawn)["loss"], phase.module) / phase.every
        return moved

    def gradient(self, loss: Tensor, player: nn.Module) -> Tensor:
        """Of a loss, (2,), in the number of this player alone."""
        own = {id(p) for p in player.parameters()}
        parts = torch.autograd.grad(loss, self.numbers, retain_graph=True, allow_unused=True)
        return torch.stack([
            part.sum().cpu() if part is not None and id(number) in own else torch.zeros(())
            for number, part in zip(self.numbers, parts, strict=True)
        ])  # fmt: skip

    def jacobian(self, n: int) -> Tensor:
        """∂v/∂(θ, ψ) (2, 2) at (0, 0), the noise being the same everywhere."""
        columns = []
        for theta, psi in ((STEP, 0.0), (0.0, STEP)):
            ahead, behind = self.mean_velocity(theta, psi, n), self.mean_velocity(-theta, -psi, n)
            columns.append((ahead - behind) / (2 * STEP))
        return torch.stack(columns, 1)

    def mean_velocity(self, theta: float, psi: float, n: int) -> Tensor:
        self.put(theta, psi)
        rng.branch(0)
        return torch.stack([self.velocity() for _ in range(0, n, BATCH)]).mean(0)

    def field(self, points: Tensor) -> Tensor:
        """v (N, 2) at points (N, 2)."""
        velocities = []
        for theta, psi in points.tolist():
            self.put(theta, psi)
            velocities.append(self.velocity())
        return torch.stack(velocities)

    def descend(self, start: tuple[float, float], steps: int, rate: float) -> Tensor:
        """The path (steps + 1, 2) of players that move one after another, as in training."""
        self.put(*start)
        path = [self.place()]
        for step in range(steps):
            self._step(step, rate)
            path.append(self.place())
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
                for number, part in zip(self.numbers, gradient, strict=True):
                    number -= rate * part

    @torch.no_grad()
    def _update(self, phase: Phase, drawn: Sequence[Tensor]) -> None:
        """What a phase does to the numbers itself (clipping), which it does in training alone.

        The losses stay in evaluation mode: in training some are means over all ranks, and this is one rank's work.
        """
        self.model.train()
        phase.objective(*drawn)
        self.model.eval()


def eigenvalues(jacobian: Tensor) -> list[complex]:
    """Both, the one of the larger real part first, and of these the one of the larger imaginary part."""
    found = [complex(value) for value in torch.linalg.eigvals(jacobian.double()).tolist()]
    return sorted(found, key=lambda value: (-round(value.real, 9), -value.imag))


def theory(model: Any) -> list[complex] | None:
    """The eigenvalues at (0, 0), of diag(1/n, 1)·J − diag(0, γ), n the critic's steps; None where unknown.

    J = [[0, a], [−a, −c]] is the game's own, a = f'(0), c = −2f''(0)σ² with instance noise; γ is of R1 or R2. Without
    any the roots are imaginary. Consensus optimisation has J − γ'JᵀJ in place of J (Mescheder, Nowozin & Geiger 2017):
    of the losses as they are without penalties, and the generator descends it when it moves.
    """
    name = next(name for name, game in GAN_LOSSES.items() if game is model.gan_loss)
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

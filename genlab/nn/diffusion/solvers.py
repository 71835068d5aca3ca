"""Runge-Kutta methods for dx/dt = v(x, t).

Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, 1993, section II.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
SolverName = Literal["euler", "midpoint", "heun", "rk4"]
Solver = Annotated[SolverName, Field(description="calls of the network per step: euler 1, midpoint and heun 2, rk4 4")]


def solve(velocity: Velocity, x: Tensor, times: Sequence[float], solver: SolverName) -> Iterator[Tensor]:
    """The states at `times`, which may rise or fall; the first is `x` itself."""
    step = STEPS[solver]
    yield x
    for t, after in pairwise(times):
        x = step(velocity, x, t, after - t)
        yield x


def evenly(start: float, end: float, steps: int) -> list[float]:
    """`steps` + 1 times from `start` to `end`."""
    return [start + (end - start) * i / steps for i in range(steps + 1)]


def last(states: Iterator[Tensor]) -> Tensor:
    """The last of the states; earlier ones are not kept."""
    *_, x = states
    return x


def _euler(v: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    return x + h * v(x, t)


def _midpoint(v: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    return x + h * v(x + h / 2 * v(x, t), t + h / 2)


def _heun(v: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    k1 = v(x, t)
    return x + h / 2 * (k1 + v(x + h * k1, t + h))


def _rk4(v: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    k1 = v(x, t)
    k2 = v(x + h / 2 * k1, t + h / 2)
    k3 = v(x + h / 2 * k2, t + h / 2)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + v(x + h * k3, t + h))


STEPS = {"euler": _euler, "midpoint": _midpoint, "heun": _heun, "rk4": _rk4}

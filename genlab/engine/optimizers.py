"""Optimizers, learning-rate schedules and the moving average of weights, by name.

A schedule is a function of the fraction of training done, so resuming it needs no state.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core.eager import eager
from genlab.engine.fused_adam import Adam
from genlab.errors import ConfigError
from genlab.registry import OPTIMIZERS, SCHEDULES, Fraction, NonNegativeFloat, PositiveFloat

Params = Iterable[nn.Parameter]
Decay = Annotated[float, Ge(0), Lt(1)]
Schedule = Callable[[float], float]  # fraction of training done in [0, 1] -> factor on the learning rate


@OPTIMIZERS("adam")
def adam(
    params: Params,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Adam (Kingma & Ba 2015), fused: one kernel over all parameters."""
    return Adam(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


@OPTIMIZERS("adamw")
def adamw(
    params: Params,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.01,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), fused."""
    return Adam(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, decoupled_weight_decay=True)


@OPTIMIZERS("sgd")
def sgd(
    params: Params,
    lr: PositiveFloat = 0.01,
    momentum: Decay = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """Stochastic gradient descent with (Nesterov) momentum, fused."""
    if nesterov and momentum == 0:
        raise ConfigError("Nesterov momentum needs a momentum", "key optimizer.momentum", "give optimizer.momentum=0.9")
    held = list(params)
    optimizer = eager(torch.optim.SGD)(
        held, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
    )
    if momentum:  # torch leaves the buffer unset if the very first step is skipped for an overflow
        for parameter in held:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@OPTIMIZERS("rmsprop")
def rmsprop(
    params: Params,
    lr: PositiveFloat = 1e-4,
    alpha: Decay = 0.99,
    eps: PositiveFloat = 1e-8,
    momentum: Decay = 0.0,
    weight_decay: NonNegativeFloat = 0.0,
) -> Optimizer:
    """RMSprop (Tieleman & Hinton 2012)."""
    return eager(torch.optim.RMSprop)(
        params, lr=lr, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay, foreach=True
    )


def _warm(warmup: float, schedule: Schedule) -> Schedule:
    return lambda done: min(1.0, done / warmup) * schedule(done) if warmup else schedule(done)


@SCHEDULES("constant")
def constant(warmup: Fraction = 0.0) -> Schedule:
    """Factor 1."""
    return _warm(warmup, lambda done: 1.0)


@SCHEDULES("linear")
def linear(warmup: Fraction = 0.0, start: Fraction = 0.0, final: Fraction = 0.0) -> Schedule:
    """Factor 1 until `start`, then linear decay to `final`."""
    return _warm(warmup, lambda done: 1 - (1 - final) * max(0.0, done - start) / max(1 - start, 1e-9))


@SCHEDULES("cosine")
def cosine(warmup: Fraction = 0.0, final: Fraction = 0.0) -> Schedule:
    """Half a cosine from 1 to `final` (Loshchilov & Hutter 2017, eq. 5, one cycle)."""
    return _warm(warmup, lambda done: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done)))


@SCHEDULES("multistep")
def multistep(
    warmup: Fraction = 0.0, milestones: tuple[Fraction, ...] = (0.5, 0.75), factor: Fraction = 0.1
) -> Schedule:
    """The learning rate is multiplied by `factor` at each milestone."""
    return _warm(warmup, lambda done: factor ** sum(done >= m for m in milestones))


class Average:
    """Exponential moving average of a model's weights; `model` is the averaged copy, buffers follow the original.

    The decay is warmed up, min(decay, (1 + t) / (10 + t)), so that a short run is not left near its first weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._source: list[Tensor] = list(model.parameters())
        self._target: list[Tensor] = list(self.model.parameters())
        self._buffers: tuple[list[Tensor], list[Tensor]] = (list(self.model.buffers()), list(model.buffers()))
        self._weight = 0.0  # of the current parameters in the average: 1 - decay
        self._device_weight: Tensor | None = None

    def at(self, step: int) -> None:
        """The next `blend` follows optimizer step `step`, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        if self._device_weight is not None and weight != self._weight:
            self._device_weight.fill_(weight)
        self._weight = weight

    @torch.no_grad()
    def blend(self) -> None:
        """Move the average toward the current weights."""
        if self._target and self._device_weight is not None:
            steps = torch._foreach_sub(self._source, self._target)
            torch._foreach_mul_(steps, self._device_weight)
            torch._foreach_add_(self._target, steps)
        elif self._target:
            torch._foreach_lerp_(self._target, self._source, self._weight)
        if self._buffers[0]:
            torch._foreach_copy_(*self._buffers)

    def capturable(self) -> None:
        """From now on `blend` reads 1 - decay from the device, so that it can change in a captured step."""
        if self._target and self._device_weight is None:
            self._device_weight = torch.tensor(self._weight, device=self._target[0].device)

    def state_dict(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.model.load_state_dict(state)

"""The logarithm of a Boltzmann machine's normaliser Z: by enumeration, or by annealed importance sampling.

Neal, Annealed Importance Sampling, Statistics and Computing 11 (2001); for these machines Salakhutdinov & Murray, On
the Quantitative Analysis of Deep Belief Networks, ICML 2008, whose base-rate machine and interval are used here.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from genlab.nn.losses.boltzmann import Machine, drawn, visible_term

ENUMERABLE = 20  # units: a million states
BLOCK = 2**14  # states at a time


@dataclass(frozen=True)
class LogPartition:
    """log Z in nats, an interval about it, and how many equally good chains the estimate is worth."""

    value: float
    low: float
    high: float
    chains: float


def enumerable(machine: Machine) -> bool:
    """Whether one layer is binary and of at most 20 units."""
    units, inputs = machine.weight.shape
    return (machine.hidden == "binary" and units <= ENUMERABLE) or (
        machine.visible == "binary" and inputs <= ENUMERABLE
    )


@torch.no_grad()
def exact_log_partition(machine: Machine) -> float:
    """log Z in nats, in float64, by a sum over every state of the smaller binary layer; its other layer is integrated.

    ValueError if neither layer is binary and has at most 20 units.
    """
    if not enumerable(machine):
        raise ValueError(f"no layer of {tuple(machine.weight.shape)} units can be enumerated")
    w, b, c = machine.weight.double(), machine.visible_bias.double(), machine.hidden_bias.double()
    units, inputs = w.shape
    by_hidden = machine.hidden == "binary" and (units <= inputs or machine.visible == "gaussian")
    mine, other, distribution = (c, b, machine.visible) if by_hidden else (b, c, machine.hidden)
    to_other = w if by_hidden else w.t()
    total = torch.tensor(-math.inf, dtype=torch.float64, device=w.device)
    for states in _states(len(mine), w):
        log_p = states @ mine + _summed_out(states @ to_other, other, distribution)
        total = torch.logaddexp(total, log_p.logsumexp(0))
    return float(total)


def _states(units: int, like: Tensor) -> list[Tensor]:
    """All 2^units states, (n, units), in blocks."""
    bits = torch.arange(units, device=like.device)
    blocks = torch.arange(2**units, device=like.device).split(BLOCK)
    return [(block[:, None] >> bits & 1).to(like.dtype) for block in blocks]


def _summed_out(field: Tensor, bias: Tensor, distribution: str) -> Tensor:
    """log ∑ exp(−E) over units in the field (N, K) of the other layer: (N,)."""
    if distribution == "binary":
        return softplus(field + bias).sum(1)
    return (0.5 * field.square() + field * bias).sum(1) + 0.5 * len(bias) * math.log(2 * math.pi)


@torch.no_grad()
def annealed(machine: Machine, base: Tensor, chains: int, temperatures: int) -> LogPartition:
    """log Z of a machine with binary hidden units, from `chains` walks through `temperatures` inverse temperatures β.

    A walk starts with the base-rate machine, without weights and with the visible biases `base` (D,), and ends with
    `machine`: log p*_β(v) = (1−β)·[visible term of `base`] + β·[that of b] + ∑ softplus(β(c + Wv)), equation 16 of
    Salakhutdinov & Murray. The interval is their ±3 standard errors of the mean weight (their equations 11 and 12);
    its lower end is −inf where that reaches 0. Walks and weights are float32, sums over β and over chains float64.
    """
    if machine.hidden != "binary":
        raise ValueError("annealing is for binary hidden units")
    w, b, c, distribution = (
        machine.weight.float(),
        machine.visible_bias.float(),
        machine.hidden_bias.float(),
        machine.visible,
    )
    base = base.to(b)
    schedule = ladder(temperatures)
    v = drawn(_base_mean(base, distribution).expand(chains, -1), distribution)
    log_w = torch.zeros(chains, dtype=torch.float64, device=w.device)
    for before, beta in itertools.pairwise(schedule):
        total = linear(v, w, c)
        change = softplus(beta * total).sum(1) - softplus(before * total).sum(1)
        tilt = visible_term(v, b, distribution) - visible_term(v, base, distribution)
        log_w += change.double() + (beta - before) * tilt.double()
        h = drawn((beta * total).sigmoid())
        field = (1 - beta) * base + beta * linear(h, w.t(), b)
        v = drawn(field.sigmoid() if distribution == "binary" else field, distribution)
    return _interval(log_w, _base_log_partition(base.double(), len(c), distribution))


def ladder(temperatures: int) -> list[float]:
    """β from 0 to 1: of the 14,500 of Salakhutdinov & Murray's section 5.1, 500 up to ½, 4,000 to 0.9, 10,000 to 1.

    Another number of temperatures keeps these proportions.
    """
    knots = torch.tensor([0.0, 500, 4_500, 14_500], dtype=torch.float64) / 14_500
    values = [0.0, 0.5, 0.9, 1.0]
    betas = []
    for step in torch.linspace(0, 1, temperatures + 1, dtype=torch.float64).tolist():
        piece = min(int(torch.searchsorted(knots, step, right=True)) - 1, 2)
        share = (step - float(knots[piece])) / float(knots[piece + 1] - knots[piece])
        betas.append(values[piece] + share * (values[piece + 1] - values[piece]))
    return betas


def _base_mean(base: Tensor, distribution: str) -> Tensor:
    return base.sigmoid() if distribution == "binary" else base


def _base_log_partition(base: Tensor, hidden: int, distribution: str) -> float:
    of_visible = softplus(base).sum() if distribution == "binary" else 0.5 * len(base) * math.log(2 * math.pi)
    return float(of_visible) + hidden * math.log(2)


def _interval(log_w: Tensor, log_base: float) -> LogPartition:
    """log of the mean weight plus `log_base`, and of that mean ± 3 standard errors."""
    n = len(log_w)
    log_mean = float(log_w.logsumexp(0)) - math.log(n)
    relative = (log_w - log_mean).exp()  # weights over their mean
    error = 3 * float(relative.std()) / math.sqrt(n) if n > 1 else math.inf
    value = log_base + log_mean
    low = value + math.log1p(-error) if error < 1 else -math.inf
    return LogPartition(value, low, value + math.log1p(error), n / float(relative.square().mean()))

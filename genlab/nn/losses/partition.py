"""The log partition function log Z of an RBM: by enumeration, or by annealed importance sampling (AIS).

Neal, Annealed Importance Sampling, Statistics and Computing 11 (2001). For RBMs, with the base-rate model and the
interval used here: Salakhutdinov & Murray, On the Quantitative Analysis of Deep Belief Networks, ICML 2008.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from genlab.nn.layers.boltzmann import RBMEnergy, UnitType, sample_units, visible_term

MAX_UNITS = 20  # for enumeration: a million states
BLOCK = 2**14  # states at a time


@dataclass(frozen=True)
class LogPartition:
    """log Z in nats, an interval around it, and the effective number of AIS chains."""

    value: float
    low: float
    high: float
    chains: float


@torch.no_grad()
def exact_log_partition(energy: RBMEnergy) -> float | None:
    """log Z in nats, in float64: a sum over all states of the smaller binary layer; the other layer is summed out.

    None if neither layer is binary with at most 20 units.
    """
    w, b, c = energy.weight.double(), energy.visible_bias.double(), energy.hidden_bias.double()
    by_hidden = energy.hidden == "binary" and (len(c) <= len(b) or energy.visible == "gaussian")
    bias, other_bias, units = (c, b, energy.visible) if by_hidden else (b, c, energy.hidden)
    if len(bias) > MAX_UNITS or (not by_hidden and energy.visible != "binary"):
        return None
    to_other = w if by_hidden else w.t()
    total = torch.tensor(-math.inf, dtype=torch.float64, device=w.device)
    for states in _states(len(bias), w):
        log_p = states @ bias + _summed_out(states @ to_other, other_bias, units)
        total = torch.logaddexp(total, log_p.logsumexp(0))
    return float(total)


def _states(units: int, like: Tensor) -> list[Tensor]:
    """All 2^units states, (n, units), in blocks."""
    bits = torch.arange(units, device=like.device)
    blocks = torch.arange(2**units, device=like.device).split(BLOCK)
    return [(block[:, None] >> bits & 1).to(like.dtype) for block in blocks]


def _summed_out(inputs: Tensor, bias: Tensor, units: UnitType) -> Tensor:
    """log ∑ exp(−E) over units with these inputs (N, K) from the other layer: (N,)."""
    if units == "binary":
        return softplus(inputs + bias).sum(1)
    return (0.5 * inputs.square() + inputs * bias).sum(1) + 0.5 * len(bias) * math.log(2 * math.pi)


@torch.no_grad()
def annealed(energy: RBMEnergy, base: Tensor, chains: int, temperatures: int) -> LogPartition:
    """log Z of an RBM with binary hidden units, by AIS with `chains` chains and `temperatures` inverse temperatures β.

    A chain starts at the base-rate model, which has visible biases `base` (D,) and no weights, and ends at the RBM:
    log p*_β(v) = (1−β)·[visible term of `base`] + β·[visible term of b] + ∑ softplus(β(c + Wv)), equation 16 of
    Salakhutdinov & Murray. The interval is ±3 standard errors of the mean weight (their equations 11 and 12); its lower
    end is −inf if the mean minus the error is not positive. Chains are float32, sums over β and over chains float64.
    """
    if energy.hidden != "binary":
        raise ValueError("annealing needs binary hidden units")
    w, b, c, units = energy.weight.float(), energy.visible_bias.float(), energy.hidden_bias.float(), energy.visible
    base = base.to(b)
    v = sample_units(_visible_mean(base, units).expand(chains, -1), units)
    log_w = torch.zeros(chains, dtype=torch.float64, device=w.device)
    for before, beta in itertools.pairwise(ladder(temperatures)):
        total = linear(v, w, c)
        change = softplus(beta * total).sum(1) - softplus(before * total).sum(1)
        tilt = visible_term(v, b, units) - visible_term(v, base, units)
        log_w += change.double() + (beta - before) * tilt.double()
        h = sample_units((beta * total).sigmoid())
        v = sample_units(_visible_mean((1 - beta) * base + beta * linear(h, w.t(), b), units), units)
    base = base.double()
    visible = softplus(base).sum() if units == "binary" else 0.5 * len(base) * math.log(2 * math.pi)
    return _interval(log_w, float(visible) + len(c) * math.log(2))


def ladder(temperatures: int) -> list[float]:
    """`temperatures` + 1 values of β from 0 to 1, spaced as in section 5.1 of Salakhutdinov & Murray.

    There, 500 of 14,500 lie below 0.5, 4,000 between 0.5 and 0.9, and 10,000 above 0.9.
    """
    knots = torch.tensor([0.0, 500, 4_500, 14_500], dtype=torch.float64) / 14_500
    values = [0.0, 0.5, 0.9, 1.0]
    betas = []
    for step in torch.linspace(0, 1, temperatures + 1, dtype=torch.float64).tolist():
        piece = min(int(torch.searchsorted(knots, step, right=True)) - 1, 2)
        fraction = (step - float(knots[piece])) / float(knots[piece + 1] - knots[piece])
        betas.append(values[piece] + fraction * (values[piece + 1] - values[piece]))
    return betas


def _visible_mean(total: Tensor, units: UnitType) -> Tensor:
    return total.sigmoid() if units == "binary" else total


def _interval(log_w: Tensor, log_base: float) -> LogPartition:
    """log of the mean weight plus `log_base`, and of that mean ± 3 standard errors."""
    n = len(log_w)
    log_mean = float(log_w.logsumexp(0)) - math.log(n)
    relative = (log_w - log_mean).exp()  # weights over their mean
    error = 3 * float(relative.std()) / math.sqrt(n) if n > 1 else math.inf
    value = log_base + log_mean
    low = value + math.log1p(-error) if error < 1 else -math.inf
    return LogPartition(value, low, value + math.log1p(error), n / float(relative.square().mean()))

"""Restricted Boltzmann machines: energies, Gibbs sampling, contrastive divergence.

Visible units v (N, D) and hidden units h (N, H) with the energy (nats)

    binary v, binary h       E(v, h) = −b·v − c·h − h·Wv
    Gaussian v, binary h     E(v, h) = ½|v − b|² − c·h − h·Wv        v given h: N(b + Wᵀh, 1)
    binary v, Gaussian h     E(v, h) = −b·v + ½|h − c|² − h·Wv       h given v: N(c + Wv, 1)

and p(v, h) = exp(−E(v, h)) / Z. Binary visibles may be given as probabilities.
Hinton, Training Products of Experts by Minimizing Contrastive Divergence, Neural Computation 14 (2002); Tieleman,
Training RBMs using Approximations to the Likelihood Gradient, ICML 2008 (persistent chains); Hinton & Salakhutdinov,
Science 313 (2006) (the linear hidden units of a code layer).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from genlab.core import rng

Distribution = Literal["binary", "gaussian"]


@dataclass(frozen=True)
class Machine:
    """The parameters W (H, D), b (D,), c (H,) of one machine, and the laws of its units.

    W and c are those of an nn.Linear from visible to hidden units, so that a pair of layers makes a machine:
    `Machine(encode.weight, decode.bias, encode.bias)`.
    """

    weight: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor
    visible: Distribution = "binary"
    hidden: Distribution = "binary"

    def hidden_mean(self, v: Tensor) -> Tensor:
        """E[h|v], (N, H), float32: probabilities of binary units."""
        return _mean(linear(v, self.weight, self.hidden_bias), self.hidden)

    def visible_mean(self, h: Tensor) -> Tensor:
        """E[v|h], (N, D), float32: probabilities of binary units."""
        return _mean(linear(h, self.weight.t(), self.visible_bias), self.visible)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = −log ∑ₕ exp(−E(v, h)), (N,), float32, so that p(v) = exp(−F(v)) / Z."""
        total = linear(v, self.weight, self.hidden_bias).float()  # c + Wv
        v, c = v.float(), self.hidden_bias.float()
        if self.hidden == "binary":
            of_hidden = softplus(total).sum(1)
        else:
            of_hidden = 0.5 * (total.square().sum(1) - c.square().sum() + len(c) * math.log(2 * math.pi))
        return -visible_term(v, self.visible_bias, self.visible) - of_hidden


def visible_term(v: Tensor, bias: Tensor, distribution: Distribution) -> Tensor:
    """What the visible units alone add to −E, (N,): b·v, or −½|v − b|²."""
    if distribution == "binary":
        return (v * bias).sum(1)  # no matrix product: autocast would round it
    return -0.5 * (v - bias).square().sum(1)


def _mean(total: Tensor, distribution: Distribution) -> Tensor:
    return total.float().sigmoid() if distribution == "binary" else total.float()


def drawn(mean: Tensor, distribution: Distribution = "binary") -> Tensor:
    """Units (N, K) of these means: 0 or 1, or normal with unit variance."""
    if distribution == "binary":
        return (rng.uniform(*mean.shape, like=mean) < mean).float()
    return mean + rng.normal(*mean.shape, like=mean)


@torch.no_grad()
def gibbs(machine: Machine, v: Tensor, steps: int, mean: bool = False) -> Tensor:
    """Visible units (N, D) after `steps` rounds of h ~ p(h|v), v ~ p(v|h).

    With `mean` the last round gives E[v|h] in place of a draw: less noise, and no longer a sample of p.
    """
    for step in range(steps):
        v = machine.visible_mean(drawn(machine.hidden_mean(v), machine.hidden))
        if not (mean and step == steps - 1):
            v = drawn(v, machine.visible)
    return v


def contrast(machine: Machine, v: Tensor, fantasy: Tensor) -> Tensor:
    """F at the data minus F at fantasies, both (N, D), means over N: a scalar in nats, float32.

    Its gradient is the contrastive-divergence update with hidden probabilities, −(⟨hv⟩ over data − ⟨hv⟩ over
    fantasies), where the fantasies are Gibbs samples that take no gradient. Its value has no meaning by itself.
    """
    return machine.free_energy(v).mean() - machine.free_energy(fantasy.detach()).mean()


def contrastive_divergence(machine: Machine, v: Tensor, steps: int = 1, mean: bool = False) -> Tensor:
    """The loss of CD-k: `contrast` of the data v (N, D) and of what `steps` Gibbs rounds make of them.

    Take the pixels of binary machines as probabilities or as draws of them. `mean=True` is Hinton and
    Salakhutdinov's (2006) CD-1: fantasies are probabilities of visible units.
    """
    return contrast(machine, v, gibbs(machine, v, steps, mean))

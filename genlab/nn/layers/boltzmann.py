"""Restricted Boltzmann machines (RBMs): energies, Gibbs sampling, contrastive divergence, and a trainable layer.

Visible units v (N, D) and hidden units h (N, H) have the energy (nats)

    binary v, binary h       E(v, h) = −b·v − c·h − h·Wv
    Gaussian v, binary h     E(v, h) = ½|v − b|² − c·h − h·Wv        p(v|h) = N(b + Wᵀh, 1)
    binary v, Gaussian h     E(v, h) = −b·v + ½|h − c|² − h·Wv       p(h|v) = N(c + Wv, 1)

and the probability p(v, h) = exp(−E(v, h)) / Z. Binary visible units may be given as probabilities.

Hinton, Training Products of Experts by Minimizing Contrastive Divergence, Neural Computation 14 (2002). Persistent
chains: Tieleman, Training RBMs using Approximations to the Likelihood Gradient, ICML 2008. Linear hidden units: Hinton
& Salakhutdinov, Science 313 (2006). Initialization: Hinton, A Practical Guide to Training RBMs, UTML TR 2010-003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from genlab.core import rng
from genlab.core.model import Shape

UnitType = Literal["binary", "gaussian"]
Binarize = Literal["sampled", "threshold", "none"]
FIRST_STEP = (0.0, 1e-9)  # window of a phase: the first step of any run shorter than 1e9 steps


@dataclass(frozen=True)
class RBMEnergy:
    """The energy function of an RBM: weights W (H, D), biases b (D,) and c (H,), and the types of the units.

    W and c have the layout of an nn.Linear from visible to hidden units, so a pair of linear layers defines an RBM:
    `RBMEnergy(encode.weight, decode.bias, encode.bias)`.
    """

    weight: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor
    visible: UnitType = "binary"
    hidden: UnitType = "binary"

    def hidden_input(self, v: Tensor) -> Tensor:
        """c + Wv, (N, H), float32: all that the hidden units and the free energy need of the weights."""
        return linear(v, self.weight, self.hidden_bias).float()

    def hidden_mean(self, v: Tensor) -> Tensor:
        """E[h|v], (N, H), float32: probabilities if the units are binary."""
        return _mean(self.hidden_input(v), self.hidden)

    def visible_mean(self, h: Tensor) -> Tensor:
        """E[v|h], (N, D), float32: probabilities if the units are binary."""
        return _mean(linear(h, self.weight.t(), self.visible_bias), self.visible)

    def mean_energy(self, v: Tensor, h: Tensor, hidden_input: Tensor, mean_v: Tensor) -> Tensor:
        """E(v, h), averaged over the N pairs: a scalar, from `hidden_input` of v and the mean of v (D,)."""
        total = torch.vdot(h.flatten(), hidden_input.flatten())
        if self.hidden == "gaussian":
            total = total - 0.5 * torch.vdot(h.flatten(), h.flatten()) - 0.5 * len(h) * self.hidden_bias.square().sum()
        if self.visible == "binary":
            visible = (mean_v * self.visible_bias).sum()  # not a matrix product, which autocast would round
        else:
            visible = -0.5 * (v - self.visible_bias).square().sum() / len(v)
        return -visible - total / len(h)

    def free_energy(self, v: Tensor, hidden_input: Tensor | None = None) -> Tensor:
        """F(v) = −log ∑ₕ exp(−E(v, h)), (N,), float32, so that p(v) = exp(−F(v)) / Z. `hidden_input` if it is known."""
        x = self.hidden_input(v) if hidden_input is None else hidden_input
        v, c = v.float(), self.hidden_bias.float()
        if self.hidden == "binary":
            hidden_term = softplus(x).sum(1)
        else:
            hidden_term = 0.5 * (x.square().sum(1) - c.square().sum() + len(c) * math.log(2 * math.pi))
        return -visible_term(v, self.visible_bias, self.visible) - hidden_term


def visible_term(v: Tensor, bias: Tensor, units: UnitType) -> Tensor:
    """The part of −E that depends on v alone, (N,): b·v, or −½|v − b|²."""
    if units == "binary":
        return (v * bias).sum(1)  # not a matrix product, which autocast would round
    return -0.5 * (v - bias).square().sum(1)


def _mean(total: Tensor, units: UnitType) -> Tensor:
    return total.float().sigmoid() if units == "binary" else total.float()


def sample_units(mean: Tensor, units: UnitType = "binary") -> Tensor:
    """Random units (N, K) with these means: 0 or 1, or normal with variance 1."""
    if units == "binary":
        return rng.uniform(*mean.shape, like=mean).lt_(mean)
    return mean + rng.normal(*mean.shape, like=mean)


@torch.no_grad()
def gibbs(energy: RBMEnergy, v: Tensor, steps: int, mean: bool = False, hidden_input: Tensor | None = None) -> Tensor:
    """Visible units (N, D) after `steps` rounds of h ~ p(h|v), v ~ p(v|h); `hidden_input` of v if it is known.

    With `mean`, the last round returns E[v|h] instead of a sample: less noise, but no longer distributed as p(v).
    """
    for step in range(steps):
        x = energy.hidden_input(v) if step or hidden_input is None else hidden_input
        v = energy.visible_mean(sample_units(_mean(x, energy.hidden), energy.hidden))
        if not (mean and step == steps - 1):
            v = sample_units(v, energy.visible)
    return v


class _Contrast(torch.autograd.Function):
    """A known `value` whose gradient is that of E(v, h) − E(fantasy, k), averaged over the rows of either pair.

    `change` is the mean of the fantasies minus that of the data.
    The loss may be scaled: the factor meets the units (N, ·), which are smaller than the weights, before the products.
    """

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, change: Tensor, v: Tensor, h: Tensor, fantasy: Tensor, k: Tensor, *parameters: Tensor
    ) -> Tensor:
        kind = value.device.type
        ctx.product_dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        ctx.save_for_backward(change, v, h, fantasy, k)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        change, v, h, fantasy, k = ctx.saved_tensors
        [factor], dtype = outer, ctx.product_dtype
        h, k = h * (factor / len(h)), k * (factor / len(k))
        weight = (k.t().to(dtype) @ fantasy.to(dtype)).addmm_(h.t().to(dtype), v.to(dtype), alpha=-1).float()
        return *[None] * 6, weight, change * factor, k.sum(0) - h.sum(0)


def contrast(energy: RBMEnergy, v: Tensor, fantasy: Tensor, hidden_input: Tensor | None = None) -> Tensor:
    """Mean energy of the data minus that of the fantasies, both (N, D) with E[h|v] for h: a scalar in nats, float32.

    Its gradient, with v and h held fixed, is the contrastive divergence update with hidden probabilities,
    −(⟨hv⟩ of the data − ⟨hv⟩ of the fantasies). The fantasies are Gibbs samples. The value itself has no meaning.
    `hidden_input` is that of the data, if it is known.
    """
    with torch.no_grad():
        x = energy.hidden_input(v) if hidden_input is None else hidden_input
        y = energy.hidden_input(fantasy)
        h, k = _mean(x, energy.hidden), _mean(y, energy.hidden)
        mean_v, mean_fantasy = v.mean(0), fantasy.mean(0)
        value = energy.mean_energy(v, h, x, mean_v) - energy.mean_energy(fantasy, k, y, mean_fantasy)
    parameters = energy.weight, energy.visible_bias, energy.hidden_bias
    loss: Tensor = _Contrast.apply(value, mean_fantasy - mean_v, v, h, fantasy, k, *parameters)
    return loss


def contrastive_divergence(energy: RBMEnergy, v: Tensor, steps: int = 1, mean: bool = False) -> Tensor:
    """The CD-k loss: `contrast` between the data v (N, D) and the data after k = `steps` Gibbs rounds.

    Binary pixels may be probabilities or samples. `mean=True` is the CD-1 of Hinton and Salakhutdinov (2006), whose
    fantasies are probabilities.
    """
    with torch.no_grad():
        x = energy.hidden_input(v)
    return contrast(energy, v, gibbs(energy, v, steps, mean, x), x)


@dataclass(frozen=True)
class Pixels:
    """Conversion between images (N, C, H, W) in [0, 1] and visible units (N, D).

    Binary units are zeros and ones as `binarize` says; Gaussian units, of variance 1, are pixels / `sigma`.
    """

    shape: Shape
    distribution: UnitType
    sigma: float
    binarize: Binarize

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def units(self, image: Tensor, sample: bool = False) -> Tensor:
        """Visible units of images. With binarize=sampled they are probabilities, sampled only if `sample`."""
        pixels = image.flatten(1).float()
        if self.distribution == "gaussian":
            return pixels / self.sigma
        if self.binarize == "threshold":
            return (pixels >= 0.5).float()
        return sample_units(pixels) if sample and self.binarize == "sampled" else pixels

    def image(self, v: Tensor) -> Tensor:
        """Images in [0, 1] of visible units or their means."""
        v = v * self.sigma if self.distribution == "gaussian" else v
        return v.unflatten(1, self.shape).clamp(0, 1)


class BoltzmannLayer(nn.Module):
    """An RBM with binary hidden units, trained by CD-k or, with `chains`, by persistent CD.

    `chains` (K, D) are fantasies that persist between steps (Tieleman 2008) and are equal on every rank. They move in
    training mode only, and they are part of the state, so that a resumed run continues them.
    """

    chains: Tensor | None

    def __init__(self, visible: int, hidden: int, distribution: UnitType = "binary", chains: int | None = None) -> None:
        super().__init__()
        self.distribution: UnitType = distribution
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, visible))  # Hinton (2010), section 8.1
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        start = torch.randn(chains or 0, visible)
        self.register_buffer("chains", self._random_units(start) if chains else None)

    @property
    def energy(self) -> RBMEnergy:
        return RBMEnergy(self.weight, self.visible_bias, self.hidden_bias, visible=self.distribution)

    @torch.no_grad()
    def init_bias(self, v: Tensor) -> None:
        """Set the visible biases so that, without hidden units, the RBM has the mean of the data v (N, D).

        Otherwise all hidden units learn that mean first and stay alike (Hinton 2010, section 8.1).
        """
        mean = v.mean(0)
        self.visible_bias.copy_(mean if self.distribution == "gaussian" else mean.clamp(0.01, 0.99).logit())

    def loss(self, v: Tensor, hidden_input: Tensor, cd_k: int) -> Tensor:
        """`contrast` between the data v (N, D) and fantasies after `cd_k` Gibbs rounds: its gradient is the update."""
        return contrast(self.energy, v, self.fantasies(v, hidden_input, cd_k), hidden_input)

    def fantasies(self, v: Tensor, hidden_input: Tensor, steps: int) -> Tensor:
        """Gibbs samples that start at the data (CD), or at the last state of the chains (persistent CD)."""
        if self.chains is None:
            return gibbs(self.energy, v, steps, hidden_input=hidden_input)
        if self.training:
            with rng.replicated():
                self.chains.copy_(gibbs(self.energy, self.chains, steps))
        return self.chains.clone()  # the next step may move the chains before this gradient is computed

    def gibbs_sample(self, n: int, steps: int) -> Tensor:
        """n visible states (n, D) after `steps` Gibbs rounds from the chains or, without chains, from random units."""
        if self.chains is not None:
            start = self.chains[torch.arange(n, device=self.chains.device) % len(self.chains)]
        else:
            start = self._random_units(rng.normal(n, self.weight.shape[1], like=self.weight))
        return gibbs(self.energy, start, steps, mean=True)

    def _random_units(self, normal: Tensor) -> Tensor:
        return normal if self.distribution == "gaussian" else (normal > 0).float()

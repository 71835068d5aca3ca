"""The KL term of a VAE, in nats, and its weight over training: β schedules, free bits, capacity.

A schedule maps the KL of each latent dimension (N, D) and the fraction of training done to the term (N,) that β
multiplies. Each image's term depends on its own KL only, hence not on how many processes share a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le
from torch import Tensor

from genlab.registry import NonNegativeFloat, PositiveInt, Registry

NonZeroFraction = Annotated[float, Gt(0), Le(1)]

BETAS = Registry("β schedule")
BetaSpec = BETAS.spec_type()


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)) of codes (N, D): (N,) in nats, float32. Kingma & Welling (2014), appendix B."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * ((log_variance.exp() - log_variance).addcmul(mean, mean).sum(1) - mean.shape[1])


def kl_per_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The same for each latent dimension: (N, D)."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * ((log_variance.exp() - log_variance).addcmul(mean, mean) - 1)


@dataclass(frozen=True)
class KLPenalty:
    """The term that β multiplies: `function` of the KL (N, D) and the fraction of training done; None: the plain KL.

    `settled` is the fraction of training after which the schedule is constant; 0 if it always is. `free` is the number
    of nats that each dimension may hold at no cost.
    """

    function: Callable[[Tensor, Tensor], Tensor] | None = None
    settled: float = 0.0
    free: float = 0.0

    def __call__(self, kl: Tensor, progress: Tensor) -> Tensor:
        return self.function(kl, progress) if self.function else kl.sum(1)


@BETAS("constant")
def constant() -> KLPenalty:
    """The plain KL."""
    return KLPenalty()


@BETAS("linear")
def linear(warmup: NonZeroFraction = 0.5) -> KLPenalty:
    """Warm-up from 0 to the KL over the first `warmup` of the run. Bowman et al., CoNLL 2016 (arXiv:1511.06349)."""
    return KLPenalty(lambda kl, progress: (progress / warmup).clamp(max=1) * kl.sum(1), warmup)


@BETAS("cyclic")
def cyclic(cycles: PositiveInt = 4, warmup: NonZeroFraction = 0.5) -> KLPenalty:
    """`cycles` warm-ups, each over the first `warmup` of its cycle. Fu et al., NAACL 2019 (arXiv:1903.10145), eq. 6.

    A trained model is at the end of its last cycle.
    """

    def function(kl: Tensor, progress: Tensor) -> Tensor:
        cycle = progress * cycles
        return ((cycle - cycle.ceil() + 1) / warmup).clamp(max=1) * kl.sum(1)

    return KLPenalty(function, (cycles - 1 + warmup) / cycles)


@BETAS("free_bits")
def free_bits(nats: NonNegativeFloat = 0.25) -> KLPenalty:
    """Σ_j max(λ, KL_j) with λ = `nats`: up to λ, a dimension costs nothing. Kingma et al. 2016 (arXiv:1606.04934),
    eq. 15, which averages over a minibatch first; here the limit applies to each image."""
    return KLPenalty(lambda kl, progress: kl.clamp(min=nats).sum(1), free=nats)


@BETAS("capacity")
def capacity(nats: NonNegativeFloat = 25.0, warmup: NonZeroFraction = 0.5) -> KLPenalty:
    """|KL − C| with C rising to `nats` over `warmup` of the run; β is the paper's γ. Burgess et al. 2018
    (arXiv:1804.03599), eq. 8."""
    return KLPenalty(lambda kl, progress: (kl.sum(1) - nats * (progress / warmup).clamp(max=1)).abs(), warmup)

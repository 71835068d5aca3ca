"""How the KL term of a VAE weighs over training: β schedules, free bits, capacity.

A schedule takes the KL of each latent dimension (N, D), in nats, and the share of training done, and gives what β
multiplies, (N,). A schedule is named alone (`linear`) or with its numbers (`{name: linear, warmup: 0.3}`). All are
sums over an image's own KL, so that they do not depend on how many processes share a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le
from torch import Tensor

from genlab.registry import NonNegativeFloat, PositiveInt, Registry

Share = Annotated[float, Gt(0), Le(1)]

BETAS = Registry("β schedule")
BetaSpec = BETAS.spec_type()


@dataclass(frozen=True)
class Penalty:
    """What β multiplies, `of` the KL (N, D) and the share of training done; None: the KL itself, summed over D.

    `settled` is the share of training from which on it no longer changes: 0, it never does. `free` is how many nats
    each dimension may say at no cost.
    """

    of: Callable[[Tensor, Tensor], Tensor] | None = None
    settled: float = 0.0
    free: float = 0.0

    def __call__(self, kl: Tensor, progress: Tensor) -> Tensor:
        return self.of(kl, progress) if self.of else kl.sum(1)


@BETAS("constant")
def constant() -> Penalty:
    """The KL itself."""
    return Penalty()


@BETAS("linear")
def linear(warmup: Share = 0.5) -> Penalty:
    """From 0 to the KL itself over the first `warmup` of the run. Bowman et al., CoNLL 2016 (arXiv:1511.06349)."""
    return Penalty(lambda kl, progress: (progress / warmup).clamp(max=1) * kl.sum(1), warmup)


@BETAS("cyclic")
def cyclic(cycles: PositiveInt = 4, warmup: Share = 0.5) -> Penalty:
    """`cycles` times from 0 to the KL itself over `warmup` of a cycle. Fu et al., NAACL 2019 (arXiv:1903.10145), eq. 6.

    A trained model is at the end of its last cycle.
    """

    def penalty(kl: Tensor, progress: Tensor) -> Tensor:
        turns = progress * cycles
        return ((turns - turns.ceil() + 1) / warmup).clamp(max=1) * kl.sum(1)

    return Penalty(penalty, (cycles - 1 + warmup) / cycles)


@BETAS("free_bits")
def free_bits(nats: NonNegativeFloat = 0.25) -> Penalty:
    """Σ_j max(λ, KL_j), λ = `nats`: what a dimension says is free up to there. Kingma et al. 2016 (arXiv:1606.04934),
    eq. 15, there of the mean over a minibatch, here of each image."""
    return Penalty(lambda kl, progress: kl.clamp(min=nats).sum(1), free=nats)


@BETAS("capacity")
def capacity(nats: NonNegativeFloat = 25.0, warmup: Share = 0.5) -> Penalty:
    """|KL − C|, C rising to `nats` over `warmup` of the run; β is the paper's γ. Burgess et al. 2018
    (arXiv:1804.03599), eq. 8."""
    return Penalty(lambda kl, progress: (kl.sum(1) - nats * (progress / warmup).clamp(max=1)).abs(), warmup)

"""Sparse autoencoders: a wide code of which only a few numbers are active for an image.

A penalty on the code's activity: Ng, Sparse Autoencoder, CS294A lecture notes, 2011. Only the k largest numbers kept:
Makhzani & Frey, k-Sparse Autoencoders, ICLR 2014 (arXiv:1312.5663).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from genlab.core.global_batch import global_mean
from genlab.errors import ConfigError
from genlab.models.autoencoders.autoencoder import Autoencoder, penalized
from genlab.registry import MODELS, NonNegativeFloat, OpenFraction, PositiveInt


@MODELS("sparse_ae")
class SparseAutoencoder(Autoencoder):
    """`penalty` l1: Σ_j |h_j|, averaged over the batch. kl: Σ_j KL(ρ ‖ ρ̂_j), where ρ = `rate` and ρ̂_j is the mean of
    h_j over the batch; it needs codes h in (0, 1).
    """

    def __init__(
        self,
        penalty: Literal["l1", "kl"] = "kl",
        penalty_weight: NonNegativeFloat = 1.0,
        rate: OpenFraction = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if penalty == "kl" and not isinstance(self.encoder[-1], nn.Sigmoid):
            raise ConfigError("a target rate needs codes in (0, 1)", "model.penalty=kl", "add model.code=sigmoid")
        self.penalty, self.penalty_weight, self.rate = penalty, penalty_weight, rate

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """`loss` = `reconstruction` + penalty_weight·`penalty`."""
        code = self.encoder(image)
        terms = self.reconstruction_loss(self.decoder(code), image)
        return penalized(terms, self.penalty_weight, self.sparsity(code.float()))

    def sparsity(self, code: Tensor) -> Tensor:
        if self.penalty == "l1":
            return code.abs().sum(1).mean()
        return kl_to_rate(global_mean(code, self.training), self.rate)


def kl_to_rate(mean: Tensor, rate: float) -> Tensor:
    """Σ_j KL(ρ ‖ ρ̂_j) of Bernoulli variables: mean activations ρ̂ (D,) in (0, 1), target rate ρ. Ng (2011)."""
    mean = mean.float().clamp(1e-6, 1 - 1e-6)
    terms = rate * (rate / mean).log() + (1 - rate) * ((1 - rate) / (1 - mean)).log()
    return terms.sum()


@MODELS("k_sparse_ae")
class KSparseAutoencoder(Autoencoder):
    """An autoencoder that keeps the k largest numbers of a code and sets the others to 0."""

    def __init__(self, k: PositiveInt, **options: Any) -> None:
        super().__init__(**options)
        self.encoder.append(KeepLargest(k))


class KeepLargest(nn.Module):
    """Keeps the k largest numbers of each code (N, D); the others become 0 and take no gradient. Algorithm 1."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, code: Tensor) -> Tensor:
        kept = code.topk(min(self.k, code.shape[1]), dim=1)
        return torch.zeros_like(code).scatter(1, kept.indices, kept.values)

"""Spectral normalization: weights divided by their largest singular value, which bounds the Lipschitz constant by 1.

Miyato, Kataoka, Koyama & Yoshida, Spectral Normalization for Generative Adversarial Networks, ICLR 2018
(arXiv:1802.05957), algorithm 1. Unlike torch's own, the power iteration is in float32 even under autocast.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

N = TypeVar("N", bound=nn.Module)
LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding)  # layers whose flattened weight is a matrix
INITIAL_ITERATIONS = 15  # before the first use; then one per use in training


class SpectralNorm(nn.Module):
    """Maps W to W / σ(W) in float32, with one step of power iteration per use in training."""

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0))
        for _ in range(INITIAL_ITERATIONS):
            self._iterate(matrix)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.v.copy_(F.normalize(matrix.t() @ self.u, dim=0))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training:
                self._iterate(matrix.detach())
            # clones: the next use updates u and v before the gradient of this one is computed
            return weight / (self.u.clone() @ (matrix @ self.v.clone()))


def spectral(network: N) -> N:
    """Normalize every linear layer, convolution and embedding of a network, in place."""
    for layer in list(network.modules()):
        if isinstance(layer, LAYERS):
            register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return network

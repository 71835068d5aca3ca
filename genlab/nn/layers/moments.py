"""Running mean and covariance of vectors, as float64 sums, with the eigenvectors of the covariance."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Moments(nn.Module):
    """Σ1, Σx and Σxxᵀ over vectors x of length `size`: exact for any partition into batches.

    The eigenvectors are computed at their first use and cached until the sums change.
    """

    count: Tensor
    total: Tensor
    outer: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("outer", torch.zeros(size, size, dtype=torch.float64))
        self._known: tuple[Tensor, int, Tensor, Tensor] | None = None

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add vectors (N, size)."""
        x = x.double()
        self.count += len(x)
        self.total += x.sum(0)
        self.outer.addmm_(x.T, x)

    @property
    def mean(self) -> Tensor:
        """(size,); zero before the first update."""
        return self.total / self.count.clamp(min=1)

    @property
    def covariance(self) -> Tensor:
        """(size, size), the biased estimate; zero before the first update."""
        return self.outer / self.count.clamp(min=1) - torch.outer(self.mean, self.mean)

    @property
    def variance(self) -> Tensor:
        """The trace of the covariance, (), computed from the diagonal alone."""
        return self.outer.diagonal().sum() / self.count.clamp(min=1) - self.mean.square().sum()

    def eigen(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (size,), decreasing and non-negative, and eigenvectors as columns (size, size), float64.

        The sign of an eigenvector is arbitrary: here its entry of largest magnitude is positive.
        """
        # _version counts in-place changes: updates, a loaded state, a copy by the weight averaging
        if self._known is None or self._known[0] is not self.outer or self._known[1] != self.outer._version:
            values, vectors = torch.linalg.eigh(self.covariance)
            values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
            largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
            self._known = self.outer, self.outer._version, values, vectors * largest.sign()
        return self._known[2], self._known[3]

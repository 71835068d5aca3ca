"""Mean and covariance of all rows ever seen, summed up in float64, and the covariance's eigenvectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Moments(nn.Module):
    """Σ1, Σx and Σxxᵀ of rows x of width `size`: exact for any cut into batches, and all that has to survive.

    The eigenvectors are computed when they are first asked for, and anew once the sums have changed.
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
    def update(self, rows: Tensor) -> None:
        """Take in rows (N, size)."""
        rows = rows.double()
        self.count += len(rows)
        self.total += rows.sum(0)
        self.outer += rows.T @ rows

    @property
    def mean(self) -> Tensor:
        """(size,), zero before the first row."""
        return self.total / self.count.clamp(min=1)

    @property
    def covariance(self) -> Tensor:
        """(size, size), divided by the number of rows; zero before the first."""
        return self.outer / self.count.clamp(min=1) - torch.outer(self.mean, self.mean)

    @property
    def variance(self) -> Tensor:
        """The covariance's trace, (), without the covariance."""
        return self.outer.diagonal().sum() / self.count.clamp(min=1) - self.mean.square().sum()

    def eigen(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (size,), falling and not negative, and eigenvectors as columns (size, size), float64.

        An eigenvector's sign is free: here its entry of largest size is positive.
        """
        # every change in place raises the version: an update, a loaded state, a copy into an average of weights
        if self._known is None or self._known[0] is not self.outer or self._known[1] != self.outer._version:
            values, vectors = torch.linalg.eigh(self.covariance)
            values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
            largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
            self._known = self.outer, self.outer._version, values, vectors * largest.sign()
        return self._known[2], self._known[3]

"""Layers that show a discriminator how similar the images of a batch are, within groups of consecutive images.

Groups make two processes with half a batch each compute the same as one process with the whole batch, provided that
their batches consist of whole groups. If the groups do not fill a batch, the last group is smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.registry import PositiveInt

Minibatch = Literal["none", "deviation", "discrimination"]


def by_group(x: Tensor, size: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` maps groups (G, size, ...) to (G, size, K); the result for x (N, ...) is (N, K)."""
    whole = len(x) // size * size
    parts = [x[:whole].unflatten(0, (-1, size))] if whole else []
    parts += [x[whole:][None]] if whole < len(x) else []
    return torch.cat([function(part).flatten(0, 1) for part in parts])


def appended(x: Tensor, statistics: Tensor) -> Tensor:
    """Appends `statistics` (N, K) to x (N, C, ...) as K channels that are constant over positions."""
    everywhere = statistics.view(*statistics.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, everywhere.to(x.dtype)], 1)  # cast last: the gradient is summed over positions in float32


class MinibatchDeviation(nn.Module):
    """One more channel: the standard deviation of each feature in the group, averaged over features and positions.

    With `even`, all groups have the same size: the largest, up to `size`, that divides the batch.
    Karras, Aila, Laine & Lehtinen, Progressive Growing of GANs, ICLR 2018 (arXiv:1710.10196), section 3.
    """

    def __init__(self, size: PositiveInt = 4, even: bool = False) -> None:
        super().__init__()
        self.size, self.even, self.extra = size, even, 1

    def forward(self, x: Tensor) -> Tensor:
        size = next(n for n in range(self.size, 0, -1) if len(x) % n == 0) if self.even else self.size
        return appended(x, by_group(x.float(), size, self._deviation))

    @staticmethod
    def _deviation(group: Tensor) -> Tensor:
        variance = (group - group.mean(1, keepdim=True)).square().mean(1)  # faster than var() on a CPU
        # differentiable at 0; the mean over all axes at once avoids a copy of channels-last maps
        deviation = (variance + 1e-8).sqrt().mean(tuple(range(1, variance.ndim)))
        return deviation[:, None, None].expand(-1, group.shape[1], 1)


class MinibatchDiscrimination(nn.Module):
    """B more features: o(x_i)_b = Σ_j exp(−‖M_ib − M_jb‖₁) over the group, M_i = f(x_i)·T a B×C matrix.

    Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen, NeurIPS 2016 (arXiv:1606.03498), section 3.2.
    """

    def __init__(self, features: int, kernels: PositiveInt = 32, dims: PositiveInt = 8, size: PositiveInt = 16) -> None:
        super().__init__()
        self.size, self.extra = size, kernels
        self.tensor = nn.Parameter(torch.empty(features, kernels, dims).normal_(0, 0.05))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return appended(x, by_group(torch.einsum("nf,fbc->nbc", x.float(), self.tensor), self.size, self._alike))

    @staticmethod
    def _alike(matrices: Tensor) -> Tensor:
        distance = (matrices[:, :, None] - matrices[:, None]).abs().sum(-1)  # (G, size, size, B)
        return distance.neg().exp().sum(2)


def logit_head(features: int, out: int, minibatch: Minibatch) -> list[nn.Module]:
    """Features (N, F) to logits (N, out), with the batch statistics that `minibatch` names."""
    if minibatch == "none":
        return [nn.Linear(features, out)]
    statistics = MinibatchDeviation() if minibatch == "deviation" else MinibatchDiscrimination(features)
    return [statistics, nn.Linear(features + statistics.extra, out)]

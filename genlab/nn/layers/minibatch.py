"""Layers that let a discriminator see how alike the images of a batch are, in groups of consecutive rows.

In groups, so that two processes with half a batch each see what one sees with the whole, where their rows are whole
groups; a batch that the groups do not fill ends in a smaller one, and each process's share of it likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.registry import PositiveInt

Minibatch = Literal["none", "deviation", "discrimination"]


def by_group(x: Tensor, size: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` of groups (G, size, ...) gives (G, size, K): its rows (N, K) for x (N, ...)."""
    whole = len(x) // size * size
    parts = [x[:whole].unflatten(0, (-1, size))] if whole else []
    parts += [x[whole:][None]] if whole < len(x) else []
    return torch.cat([function(part).flatten(0, 1) for part in parts])


def appended(x: Tensor, seen: Tensor) -> Tensor:
    """x (N, C, ...) with `seen` (N, K) as K more channels, alike at every place."""
    everywhere = seen.view(*seen.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, everywhere.to(x.dtype)], 1)  # cast last: the gradient is summed over places in float32


class MinibatchDeviation(nn.Module):
    """One more channel: the standard deviation of each feature in the group, averaged over features and places.

    With `even`, no group is smaller than another: they have the most rows, up to `size`, that divide the batch.
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
        variance = (group - group.mean(1, keepdim=True)).square().mean(1)  # on a CPU faster than var()
        # a root can be differentiated at 0; over all axes at once, which copies no map whose channels are last
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


def judge_head(features: int, out: int, minibatch: Minibatch) -> list[nn.Module]:
    """From features (N, F) to logits (N, out), past what `minibatch` sees of the batch."""
    if minibatch == "none":
        return [nn.Linear(features, out)]
    seer = MinibatchDeviation() if minibatch == "deviation" else MinibatchDiscrimination(features)
    return [seer, nn.Linear(features + seer.extra, out)]

"""Sums and means over the batches of all ranks, for losses that contain a statistic of the whole batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Sum(torch.autograd.Function):
    """The sum over ranks; its gradient is the sum of theirs, again a sum that can be differentiated."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return global_sum(gradient)


def global_sum(value: Tensor) -> Tensor:
    """The sum of `value` over all ranks, differentiable any number of times."""
    total: Tensor = _Sum.apply(value)
    return total


def gathered(x: Tensor, training: bool) -> Tensor:
    """The rows of x (N, ...) of all ranks, rank by rank, (ranks · N, ...); differentiable.

    Outside training, each rank has its own batch only.
    """
    if not _several(training):
        return x
    n, rank = len(x), dist.get_rank()
    rows = x.new_zeros((dist.get_world_size() * n, *x.shape[1:])).slice_scatter(x, 0, rank * n, (rank + 1) * n)
    return global_sum(rows)


def own_rows(everyone: Tensor, training: bool) -> Tensor:
    """The rows of this rank, (N, ...), of a result with the rows of `gathered`."""
    return everyone.chunk(dist.get_world_size())[dist.get_rank()] if _several(training) else everyone


def _several(training: bool) -> bool:
    return training and dist.is_available() and dist.is_initialized()


def global_mean(x: Tensor, training: bool) -> Tensor:
    """The mean (D,) of x (N, D) over the global batch, N samples from each rank; differentiable.

    Outside training, each rank averages over its own batch.
    """
    if _several(training):
        return global_sum(x.mean(0)) / dist.get_world_size()
    return x.mean(0)

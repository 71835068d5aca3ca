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


def global_mean(x: Tensor, training: bool) -> Tensor:
    """The mean (D,) of x (N, D) over the global batch, N samples from each rank; differentiable.

    Outside training, each rank averages over its own batch.
    """
    if training and dist.is_available() and dist.is_initialized():
        return global_sum(x.mean(0)) / dist.get_world_size()
    return x.mean(0)

"""The contract of networks that take conditions beside their input: a time, a class, a vector such as a text embedding.

Such a network is built with `conditions: Conditions` beside `inp` and `out`, and called as
`network(x, time=None, label=None, code=None)`. It passes these to a `ConditionEmbedding` and scales and shifts its
feature maps by the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", nn.Linear, nn.Conv2d)


@dataclass(frozen=True)
class Conditions:
    """The conditions that a model gives its network; by default none, and the network is a plain one."""

    time: bool = False  # (N,) float, in [0, 1] at the default scale
    time_scale: float = 1000  # times are multiplied by it before their sinusoids, whose largest frequency is 1
    times: int = 1  # with 2 or more, `time` is (N, times): two ends of an interval
    num_classes: int | None = None  # label (N,) int64 in [0, num_classes]; num_classes itself stands for no class
    code_dim: int | None = None  # code (N, code_dim) float


NONE = Conditions()


class ConditionEmbedding(nn.Module):
    """Sum of an embedding (N, dim) of each condition; zeros without conditions. A `label` of None means no class."""

    def __init__(self, conditions: Conditions, dim: int) -> None:
        super().__init__()
        self.conditions, self.dim = conditions, dim
        if conditions.time:
            given = conditions.times * (dim + dim % 2)
            self.time = nn.Sequential(nn.Linear(given, dim), nn.SiLU(), nn.Linear(dim, dim))
        if conditions.num_classes:
            self.label = nn.Embedding(conditions.num_classes + 1, dim)
        if conditions.code_dim:
            self.code = nn.Linear(conditions.code_dim, dim)

    def forward(self, x: Tensor, time: Tensor | None, label: Tensor | None, code: Tensor | None) -> Tensor:
        """The embedding of the conditions of inputs `x` (N, ...)."""
        total = x.new_zeros(len(x), self.dim)
        if self.conditions.time:
            assert time is not None
            waves = sinusoids(time.reshape(-1), self.dim + self.dim % 2, self.conditions.time_scale)
            total = total + self.time(waves.reshape(len(x), -1))
        if self.conditions.num_classes:
            none = torch.full((len(x),), self.conditions.num_classes, device=x.device)
            total = total + self.label(none if label is None else label)
        if self.conditions.code_dim:
            assert code is not None
            total = total + self.code(code)
        return total


class FiLM(nn.Module):
    """Features (N, C, ...) scaled and shifted per channel by a linear map of an embedding (N, dim); at first unchanged.

    Perez, Strub, de Vries, Dumoulin & Courville, FiLM, AAAI 2018 (arXiv:1709.07871).
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.linear = zeroed(nn.Linear(dim, 2 * channels))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.linear(embedding).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        return x * (1 + scale) + shift


def sinusoids(time: Tensor, dim: int, scale: float = 1000) -> Tensor:
    """Times (N,) to (N, dim), dim even: cosines and sines of scale · t at frequencies from 1 down to 1/10,000.

    Vaswani et al., Attention Is All You Need, NeurIPS 2017 (arXiv:1706.03762), section 3.5.
    """
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    angles = scale * time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def zeroed(layer: M) -> M:
    """The layer with weights and bias 0: a residual branch that ends in it adds nothing at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer

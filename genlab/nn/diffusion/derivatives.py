"""Derivatives of networks along a direction, by forward-mode differentiation."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


def jvp(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], direction: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The function at `inputs`, and its derivative there along `direction`; both in float32, also under autocast.

    torch can neither cast weights inside a forward derivative nor differentiate its fused attention forward.
    """
    _load_rules()
    with torch.autocast(inputs[0].device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
        value, slope, *_ = torch.func.jvp(function, inputs, direction)
    return value, slope


@functools.cache
def _load_rules() -> None:
    """Let torch load its rules for normalization layers: doing so warns of a deprecation inside torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.func.jvp(lambda x: F.layer_norm(x, (2,)), (torch.ones(2),), (torch.ones(2),))

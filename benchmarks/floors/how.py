"""What the floor loops share: device, precision and memory layout, the optimizer, the average of weights."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Step = Callable[[Tensor], Tensor]  # takes a uint8 batch (N, C, H, W), updates the weights, returns a loss


@dataclass(frozen=True)
class How:
    """Device, precision and memory layout of tensors."""

    device: str = "cpu"
    precision: str = "fp32"
    layout: str = "nchw"
    compiled: bool = False
    graph: bool = False

    @property
    def memory(self) -> torch.memory_format:
        return torch.channels_last if self.layout == "nhwc" else torch.contiguous_format

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, torch.bfloat16)

    def place(self, net: nn.Module) -> nn.Module:
        net = net.to(self.device, memory_format=self.memory)
        return torch.compile(net) if self.compiled else net

    def adam(self, net: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
        return torch.optim.Adam(net.parameters(), lr=lr, betas=betas, fused=True, capturable=self.graph)


def ema(net: nn.Module, decay: float = 0.999) -> Callable[[], None]:
    """An average of the weights of `net`; the function moves it, with the decay warmed up as genlab's is."""
    source = [p.detach() for p in net.parameters()]
    target, turns = copy.deepcopy(source), iter(range(1, 2**62))

    def blend() -> None:
        t = next(turns)
        torch._foreach_lerp_(target, source, 1 - min(decay, (1 + t) / (10 + t)))

    return blend

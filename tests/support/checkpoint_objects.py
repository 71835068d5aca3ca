"""Everything that a training holds, small, with ways to train and to compare it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Holder:
    """An object of ours with any state, as a trainer's counters or a scheduler."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def net(width: int = 6) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.utils.spectral_norm(nn.Linear(144, width)), nn.PReLU()
    )


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "fused Adam": lambda groups: torch.optim.Adam(groups, lr=1e-2, betas=(0.5, 0.999), fused=True),
    "foreach AdamW, amsgrad": lambda groups: torch.optim.AdamW(groups, lr=1e-2, amsgrad=True, foreach=True),
    "SGD with momentum": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, nesterov=True),
    "SGD before its first step": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9),
    "RMSprop": lambda groups: torch.optim.RMSprop(groups, lr=1e-2, centered=True),
    "Adafactor": lambda groups: torch.optim.Adafactor(groups, lr=1e-2),
    "Adam with a tensor as rate": lambda groups: torch.optim.Adam(groups, lr=torch.tensor(0.01)),
}


def training_objects(kind: str, width: int = 6) -> dict[str, Any]:
    model = net(width)
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = OPTIMIZERS[kind]([{"params": weights}, {"params": others, "weight_decay": 0.0, "lr": 3e-3}])
    return {
        "model": model,
        "optimizer": optimizer,
        "schedule": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20),
        "scaler": torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2),
        "ema": torch.optim.swa_utils.AveragedModel(model, use_buffers=True),
        "run": Holder({"rng": torch.get_rng_state(), "best": (None, math.inf), 3: "three"}),
    }


def train(objects: dict[str, Any], steps: range) -> None:
    for step in steps:
        image = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = objects["model"](image).square().mean()
        objects["optimizer"].zero_grad()
        objects["scaler"].scale(loss).backward()
        objects["scaler"].step(objects["optimizer"])
        objects["scaler"].update()
        objects["schedule"].step()
        objects["ema"].update_parameters(objects["model"])


def identical(a: Any, b: Any) -> bool:
    """Equal in type, in order and to the bit, all the way down."""
    if isinstance(a, Tensor):
        return (
            isinstance(b, Tensor)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.stride() == b.stride()
            and torch.equal(a.detach().reshape(-1).view(torch.uint8), b.detach().reshape(-1).view(torch.uint8))
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return [*map(repr, a)] == [*map(repr, b)] and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(identical, a, b))
    return type(a) is type(b) and repr(a) == repr(b)

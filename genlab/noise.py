"""Random numbers that do not depend on how many processes share a batch.

Every rank holds the same generator state. A draw of n rows on each of `world` ranks is a draw of n·world rows of
which a rank keeps its own: two ranks with half a batch see what one rank sees with the whole, and a model file
never mentions ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_rank, _world = 0, 1


def share(rank: int, world: int) -> None:
    """Say once, at start-up, which part of a global batch this process holds."""
    global _rank, _world
    _rank, _world = rank, world


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Meanwhile draws are this process's own: an evaluation is made by one rank for all."""
    before = _rank, _world
    share(0, 1)
    try:
        yield
    finally:
        share(*before)


def seed(*numbers: int) -> None:
    """Seed torch's generators, on every device, from a few integers (seed, step, ...)."""
    value = 0xCBF29CE484222325  # FNV-1a: nearby steps must not give nearby seeds
    for number in numbers:
        for byte in int(number).to_bytes(8, "little", signed=True):
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    value &= 0x7FFFFFFFFFFFFFFF
    torch.default_generator.manual_seed(value)
    # torch.manual_seed would do both, but notes a stack trace for a device not yet in use: 0.1 ms at every step
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)


def normal(rows: int, *shape: int, like: Tensor) -> Tensor:
    """Standard normal float32 of shape (rows, *shape) on the device of `like`."""
    return _rows(torch.randn, rows, shape, like)


def uniform(rows: int, *shape: int, like: Tensor) -> Tensor:
    """Uniform [0, 1) float32 of shape (rows, *shape) on the device of `like`."""
    return _rows(torch.rand, rows, shape, like)


def _rows(draw: Callable[..., Tensor], rows: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    everyone = draw((rows * _world, *shape), device=like.device, dtype=torch.float32)
    return everyone[_rank * rows : (_rank + 1) * rows]

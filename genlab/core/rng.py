"""Random numbers that do not depend on how many processes share a batch.

A draw of n rows on each of w ranks is a draw of n·w rows of which a rank keeps its own: two ranks with
half a batch see what one rank sees with the whole, and a model file never mentions ranks. Such draws come from a
generator that all ranks hold in the same state. What a library draws by itself (nn.Dropout) comes from torch's
default generator: rank 0 has the seed's own stream, every other rank a stream of its own, so that masks differ.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_rank, _world = 0, 1
_base: tuple[int, ...] = ()  # what `seed` was given
_value = 0  # what the generators that all ranks hold alike were last seeded with
_common: dict[torch.device, torch.Generator] | None = None  # alike on all ranks; None: there is one rank


def share(rank: int, world_size: int) -> None:
    """Say once, at start-up, which part of a global batch this process holds."""
    global _rank, _world, _common
    _rank, _world = rank, world_size
    _common = {} if world_size > 1 else None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Meanwhile, and once seeded, draws are whole and alike on every rank: what one process would draw."""
    global _rank, _world
    before = _rank, _world
    _rank, _world = 0, 1
    try:
        yield
    finally:
        _rank, _world = before


def seed(*numbers: int) -> None:
    """Seed the generators, on every device, from a few integers (seed, step, ...)."""
    global _base
    _base = numbers
    _apply(numbers)


def branch(index: int) -> None:
    """Seed the generators from what they were last seeded from and `index`: parts can then be done in any order."""
    _apply((*_base, index))


def _apply(numbers: tuple[int, ...]) -> None:
    global _value
    _value = _mixed(numbers)
    own = _mixed((*numbers, -_rank)) if _rank else _value
    torch.default_generator.manual_seed(own)
    # torch.manual_seed would do both, but notes a stack trace for a device not yet in use: 0.1 ms at every step
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(own)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(own)
    for generator in (_common or {}).values():
        generator.manual_seed(_value)


def _mixed(numbers: tuple[int, ...]) -> int:
    value = 0xCBF29CE484222325  # FNV-1a: nearby steps must not give nearby seeds
    for number in numbers:
        for byte in int(number).to_bytes(8, "little", signed=True):
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value & 0x7FFFFFFFFFFFFFFF


def normal(rows: int, *shape: int, like: Tensor) -> Tensor:
    """Standard normal float32 of shape (rows, *shape) on the device of `like`."""
    return _rows(torch.randn, rows, shape, like)


def uniform(rows: int, *shape: int, like: Tensor) -> Tensor:
    """Uniform [0, 1) float32 of shape (rows, *shape) on the device of `like`."""
    return _rows(torch.rand, rows, shape, like)


def _rows(draw: Callable[..., Tensor], rows: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    everyone = draw((rows * _world, *shape), device=like.device, dtype=torch.float32, generator=_generator(like.device))
    return everyone[_rank * rows : (_rank + 1) * rows]


def _generator(device: torch.device) -> torch.Generator | None:
    """The generator of draws for the global batch; None is torch's default, which serves where there is one rank."""
    if _common is None:
        return None
    if device not in _common:
        _common[device] = torch.Generator(device)
        _common[device].manual_seed(_value)
    return _common[device]

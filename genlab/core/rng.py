"""Random numbers that do not depend on how many processes share a batch.

To sample n numbers on each of w ranks, every rank samples n·w from a generator in the same state and keeps its own n.
So two ranks with half a batch each get the numbers that one rank gets for the whole batch, and a model file never
mentions ranks. Modules such as nn.Dropout use torch's default generator instead; it is seeded differently on each rank,
so that masks differ.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_rank, _world_size = 0, 1
_base: tuple[int, ...] = ()  # the arguments of `seed`
_value = 0  # the last seed of the generators in `_common`
_common: dict[torch.device, torch.Generator] | None = None  # in the same state on all ranks; None: there is one rank


def set_rank(rank: int, world_size: int) -> None:
    """Set which part of a global batch this process holds; called once at start-up."""
    global _rank, _world_size, _common
    _rank, _world_size = rank, world_size
    _common = {} if world_size > 1 else None


@contextlib.contextmanager
def replicated() -> Iterator[None]:
    """Inside, and once seeded, every rank gets the same numbers: those of a run with one process."""
    global _rank, _world_size
    before = _rank, _world_size
    _rank, _world_size = 0, 1
    try:
        yield
    finally:
        _rank, _world_size = before


def seed(*numbers: int) -> None:
    """Seed the generators, on every device, from a few integers (seed, step, ...)."""
    global _base
    _base = numbers
    _apply(numbers)


def fold_in(index: int) -> None:
    """Seed the generators from the arguments of the last `seed` and `index`, so that parts can run in any order."""
    _apply((*_base, index))


@contextlib.contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """Random numbers inside, on `device` and on the CPU, do not change those that follow."""
    states = {generator: generator.get_state() for generator in (_common or {}).values()}
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type="cuda" if device.type == "cpu" else device.type):
        try:
            yield
        finally:
            for generator in (_common or {}).values():
                if generator in states:
                    generator.set_state(states[generator])
                else:  # first used inside
                    generator.manual_seed(_value)


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


def normal(n: int, *shape: int, like: Tensor) -> Tensor:
    """Standard normal float32 (n, *shape) on the device of `like`."""
    return _local(torch.randn, n, shape, like)


def uniform(n: int, *shape: int, like: Tensor) -> Tensor:
    """Uniform float32 (n, *shape) in [0, 1) on the device of `like`."""
    return _local(torch.rand, n, shape, like)


def categorical(p: Tensor) -> Tensor:
    """One index int64 (N,) from each row of probabilities (N, K), by inverting the cumulative distribution."""
    cumulative = p.cumsum(1)
    u = uniform(len(p), 1, like=p) * cumulative[:, -1:]
    return (cumulative <= u).sum(1).clamp_(max=p.shape[1] - 1)


def _local(sample: Callable[..., Tensor], n: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    device, size = like.device, (n * _world_size, *shape)
    everyone = sample(size, device=device, dtype=torch.float32, generator=_generator(device))
    return everyone[_rank * n : (_rank + 1) * n]


def _generator(device: torch.device) -> torch.Generator | None:
    """The generator of numbers for the global batch; None is torch's default, used if there is one rank."""
    if _common is None:
        return None
    if device not in _common:
        _common[device] = torch.Generator(device)
        _common[device].manual_seed(_value)
    return _common[device]

"""The environment in which torchrun and `trainer.devices` start ranks, checked before torch reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from genlab.errors import RankError

MOST = 2**20
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run, and of its host; `local_world_size` is None if the launcher does not say."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int | None = None


def from_environment() -> Ranks:
    """RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE; without them, the only process of its run.

    RankError if one is missing or does not fit the others, or if MASTER_ADDR or MASTER_PORT is missing or invalid.
    """
    world_size = _number("WORLD_SIZE", 1, MOST, 1)
    several = world_size > 1
    here = _number("LOCAL_WORLD_SIZE", 1, world_size, 1) if "LOCAL_WORLD_SIZE" in os.environ else None
    rank = _number("RANK", 0, world_size - 1, None if several else 0)
    local_rank = _number("LOCAL_RANK", 0, (here or world_size) - 1, None if several else 0)
    if several:
        _number("MASTER_PORT", 1, 65535, None)
        if not os.environ.get("MASTER_ADDR"):
            raise _wrong("MASTER_ADDR", "not set")
    return Ranks(rank, world_size, local_rank, here)


def _number(name: str, least: int, most: int, default: int | None) -> int:
    text = os.environ.get(name)
    if text is None:
        if default is None:
            raise _wrong(name, "not set")
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= number <= most:
        allowed = f"{least}" if least == most else f"a number from {least} to {most}"
        raise _wrong(name, f"'{text[:20]}', not {allowed}")
    return number


def _wrong(name: str, found: str) -> RankError:
    size = os.environ.get("WORLD_SIZE")
    where = "environment, where WORLD_SIZE is " + (f"'{size[:20]}'" if size is not None else "not set")
    hint = "use torchrun or trainer.devices=N, or unset RANK and WORLD_SIZE to train in one process"
    return RankError(f"{name} is {found}", where, hint)

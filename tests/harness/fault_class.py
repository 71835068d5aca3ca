"""What a class of faults is: a promise, and trials that attack it."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.harness import classes


class Case(NamedTuple):
    """One trial: its number, its own random numbers, and an empty working folder that is deleted afterwards.

    `shared` is a folder of all trials of this harness run, for what takes long to make.
    """

    number: int
    rng: random.Random
    folder: Path
    shared: Path


@dataclass(frozen=True)
class FaultClass:
    """`count` faults of one kind, `per_trial` of them in each trial.

    `trial` returns None if the promise held, else what went wrong in one line; an exception is a failure too, except
    unittest.SkipTest, where this machine cannot try it. All that varies comes from the case's number and `rng`.
    `short` is the number of trials in the quick test suite (tests/harness/test_short.py).
    """

    name: str
    promise: str
    count: int
    trial: Callable[[Case], str | None]
    per_trial: int = 1
    short: int = 2

    def trials(self, share: float = 1.0) -> int:
        """Number of trials in this share of the class, at least one."""
        return max(1, round(self.count * share / self.per_trial))


def fault_classes() -> dict[str, FaultClass]:
    """Every class of faults by name, found in `classes/`."""
    found: dict[str, FaultClass] = {}
    for module in pkgutil.iter_modules(classes.__path__, f"{classes.__name__}."):
        for each in importlib.import_module(module.name).FAULTS:
            assert each.name not in found, each.name
            found[each.name] = each
    return found

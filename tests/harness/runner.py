"""Runs the trials of a class, over several processes, and collects what failed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import tempfile
import traceback
import unittest
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests.harness.fault_class import Case, FaultClass

ROOT = Path(__file__).resolve().parents[2]
context = multiprocessing.get_context("fork")


@dataclass
class Result:
    """What came of a class: `failures` and `skipped` map the numbers of trials to a line."""

    faults: FaultClass
    seed: int
    trials: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return (self.trials - len(self.skipped)) * self.faults.per_trial

    def reproduce(self, number: int) -> str:
        return f"python -m tests.harness {self.faults.name} --seed {self.seed} --trial {number}"


def run(
    faults: FaultClass, numbers: Sequence[int], seed: int = 0, jobs: int = 1, tell: Callable[[str], object] = str
) -> Result:
    """Run these trials in `jobs` forked processes; `tell` is called with each failure at once.

    A process that dies loses its trial only, which has failed.
    """
    result, todo = Result(faults, seed, len(numbers)), list(reversed(numbers))
    running: dict[Connection, tuple[int, Path]] = {}
    while todo or running:
        while todo and len(running) < jobs:
            mine, its = context.Pipe(duplex=False)
            number, folder = todo.pop(), Path(tempfile.mkdtemp(prefix="harness-"))
            context.Process(target=_work, args=(faults, number, seed, folder, its)).start()
            its.close()
            running[mine] = number, folder
        for ended in wait(list(running)):
            number, folder = running.pop(ended)  # type: ignore[call-overload]
            with contextlib.closing(ended):  # type: ignore[type-var]
                _collect(result, number, ended)  # type: ignore[arg-type]
            shutil.rmtree(folder, ignore_errors=True)
            if number in result.failures:
                tell(f"{faults.name} {number}: {result.failures[number]}")
        multiprocessing.active_children()  # reaps those that have ended
    return result


def _collect(result: Result, number: int, ended: Connection) -> None:
    try:
        kind, text = ended.recv()
    except EOFError:
        kind, text = "failed", "the process of the trial died"
    if kind == "failed":
        result.failures[number] = text
    elif kind == "skipped":
        result.skipped[number] = text


def _work(faults: FaultClass, number: int, seed: int, folder: Path, results: Connection) -> None:
    os.chdir(folder)
    rng = random.Random(f"{seed}/{faults.name}/{number}")
    results.send(attempt(faults, Case(number, rng, folder, Path(os.environ["GENLAB_CACHE"]))))


def attempt(faults: FaultClass, case: Case) -> tuple[str, str]:
    """("held" | "failed" | "skipped", one line)."""
    try:
        failure = faults.trial(case)
    except unittest.SkipTest as skipped:
        return "skipped", str(skipped)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"
    return ("failed", " ".join(failure.split())[:500]) if failure else ("held", "")


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """A process that is ready to fork trials: torch on one thread, registry and Hydra loaded, a cache of its own."""
    import torch

    from genlab.config import compose
    from genlab.workflows.build import load_registry

    torch.set_num_threads(1)
    load_registry()
    compose.compose([])
    with tempfile.TemporaryDirectory(prefix="harness-cache-") as cache, unittest.mock.patch.dict(os.environ):
        os.environ |= {"GENLAB_CACHE": cache, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        os.environ.pop("GENLAB_DATA", None)
        yield

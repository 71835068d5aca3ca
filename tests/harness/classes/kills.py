"""SIGKILL again and again until the run is done; then it is compared with one that nobody killed.

Every model YAML in turn, in float32 and bfloat16, with and without accumulation. Half of the kills come at a random
time, the others inside a save: at one of its system calls, each kind of call as often as any other.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab.checkpoint.manager import Checkpoints
from tests.harness.fault_class import Case, FaultClass
from tests.support.durable import hooked
from tests.support.models import OTHERS, PRESETS
from tests.support.processes import command, fork, wait
from tests.support.tiny_runs import difference, draw_pairs, fingerprint, tiny

KILLS = 10  # of each trial
MODELS = [*PRESETS, *OTHERS]
COMMON = ["trainer.batch_size=16", "trainer.steps=12", "trainer.log_every=1", "checkpoint.every=2",
          "trainer.ema_decay=0.9", "schedule=cosine", "logger.console=null"]  # fmt: skip
VARIANTS = (
    ["trainer.precision=fp32"],
    ["trainer.precision=bf16"],
    ["trainer.grad_accum_steps=2"],
    ["trainer.precision=bf16", "trainer.grad_accum_steps=2"],
)
EVALUATORS = {"flow_matching": ["evaluator=objective"]}  # its samples take seconds
Before = Callable[[], object] | None
Start = Callable[[list[str], Before], int]  # overrides, what to do in the child first -> process id


def forked(overrides: list[str], before: Before) -> int:
    return fork(["train", *overrides], before)


def real(overrides: list[str], before: Before) -> int:
    return command(["train", *overrides])


def in_save(number: int, action: Callable[[str], object]) -> Before:
    """Call `action(kind)` at each system call that changes the disk, from the start of this process's save `number`."""

    def before() -> None:
        save, left, patch = Checkpoints.save, [number], pytest.MonkeyPatch()

        def watched(self: Checkpoints, *arguments: Any) -> Path:
            left[0] -= 1
            if left[0] == 0:
                hooked(patch, lambda when, operation: action(f"{when} {operation}"))
            path = save(self, *arguments)
            if left[0] == 0:
                action("end")
                patch.undo()
            return path

        Checkpoints.save = watched  # type: ignore[method-assign]

    return before


def killed_in_save(number: int, kind: str, nth: int) -> Before:
    """SIGKILL at the nth call of this kind in save `number`, or at its end."""
    left = [nth]

    def action(found: str) -> None:
        left[0] -= found == kind
        if left[0] < 0 or found == "end":
            os.kill(os.getpid(), signal.SIGKILL)

    return in_save(number, action)


def recorded(path: Path) -> Before:
    """Write to `path` how many calls of each kind the third save makes, the first that deletes an old checkpoint."""
    seen: Counter[str] = Counter()

    def action(kind: str) -> None:
        seen[kind] += 1
        if kind == "end":
            path.write_text(json.dumps(seen))

    return in_save(3, action)


def whole(start: Start, overrides: list[str], path: Path) -> dict[str, Any]:
    """What the run that nobody kills ends with, its seconds, and the calls of a save; kept in the file `path`."""
    if not path.exists():
        run, began = path.with_name(f"{path.stem}-{os.getpid()}"), time.monotonic()
        calls = run.with_suffix(".calls")
        code = wait(start([*overrides, f"hydra.run.dir={run}"], recorded(calls)))
        assert code == 0, f"the run that nobody killed ended with code {code}"
        found = {"fingerprint": fingerprint(run), "seconds": time.monotonic() - began,
                 "calls": json.loads(calls.read_text()) if calls.exists() else {}}  # fmt: skip
        calls.with_suffix(".tmp").write_text(json.dumps(found))
        os.replace(calls.with_suffix(".tmp"), path)  # another trial may be making the same
    return dict(json.loads(path.read_text()))


def killed_once(start: Start, overrides: list[str], expected: dict[str, Any], rng: random.Random) -> bool:
    """Start or resume a run and kill it; False if it was done before that."""
    calls, before, seconds = expected["calls"], None, rng.uniform(0, expected["seconds"])
    if calls and rng.random() < 0.5:
        kind = rng.choice(sorted(calls))
        before, seconds = killed_in_save(rng.randint(1, 3), kind, rng.randrange(calls[kind])), 600
    pid = start(overrides, before)
    code = wait(pid, seconds)
    if code is None:
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"a restarted run ended with code {code}"
    return code != 0


def trial(start: Start, case: Case) -> str | None:
    """Kill runs of one model YAML KILLS times in all."""
    model, turn = MODELS[case.number % len(MODELS)], case.number // len(MODELS)
    variant = (case.number + turn) % len(VARIANTS)
    base = [*tiny(model, draw_pairs(case.shared / "pairs")), *COMMON, *VARIANTS[variant], *EVALUATORS.get(model, [])]
    expected = whole(start, base, case.shared / f"{start.__name__}-{model}-{variant}.json")
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        overrides = [*base, f"hydra.run.dir={case.folder / f'run-{runs}'}"]
        while kills < KILLS and killed_once(start, overrides, expected, case.rng):
            kills += 1
        code = wait(start(overrides, None))
        assert code == 0, f"the last start ended with code {code}"
        found = difference(expected["fingerprint"], fingerprint(case.folder / f"run-{runs}"))
        if found:
            return f"{model} {' '.join(VARIANTS[variant])} differs from the run that nobody killed: {found}"
    return None


PROMISE = "a killed run resumes by itself and ends with the same bits and metrics"
FAULTS = [
    FaultClass("kills", PROMISE, 100 * len(MODELS), lambda case: trial(forked, case), KILLS, short=2),
    FaultClass("kills-command", f"{PROMISE}: the real command", 60, lambda case: trial(real, case), KILLS, short=1),
]

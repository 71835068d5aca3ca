"""SIGKILL again and again until the run is done; then it is compared with one that nobody killed.

Every model YAML in turn, in float32 and bfloat16, with and without accumulation. Half of the kills come at a random
time, the others inside a save: at one of its system calls, each kind of call as often as any other.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.harness import hooks
from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import COMMON, Before, Start, real, resumed, whole
from tests.support.models import OTHERS, PRESETS
from tests.support.processes import PATIENCE, fork, wait
from tests.support.tiny_runs import draw_pairs, tiny

KILLS, REAL_KILLS = 10, 3  # of each trial
MODELS = [*PRESETS, *OTHERS]
VARIANTS = (
    ["trainer.precision=fp32"],
    ["trainer.precision=bf16"],
    ["trainer.grad_accum_steps=2"],
    ["trainer.precision=bf16", "trainer.grad_accum_steps=2"],
)
EVALUATORS = {name: ["evaluator=objective"] for name in ("flow_matching", "ddpm", "edm")}  # their samples take seconds


def recorded(path: Path) -> Before:
    """Write to `path` how many calls of each kind the third save makes, the first that deletes an old checkpoint."""
    seen: Counter[str] = Counter()

    def action(kind: str) -> None:
        seen[kind] += 1
        if kind == "end":
            path.write_text(json.dumps(seen))

    return hooks.in_save(3, action)


def killed_once(start: Start, words: list[str], calls: dict[str, int], seconds: float, rng: random.Random) -> bool:
    """Start or resume a run and kill it; False if it was done before that."""
    before, patience = None, rng.uniform(0, seconds)
    if calls and rng.random() < 0.5:
        kind = rng.choice(sorted(calls))
        at = hooks.nth(kind, rng.randrange(calls[kind]), hooks.killed)
        before, patience = hooks.in_save(rng.randint(1, 3), at), PATIENCE
    pid = start(words, before, None)
    code = wait(pid, patience)
    if code is None:
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"a restarted run ended with code {code}"
    return code != 0


def trial(start: Start, count: int, case: Case) -> str | None:
    """Kill runs of one model YAML `count` times in all."""
    model, turn = MODELS[case.number % len(MODELS)], case.number // len(MODELS)
    variant = (case.number + turn) % len(VARIANTS)
    base = [*tiny(model, draw_pairs(case.shared / "pairs")), *COMMON, *VARIANTS[variant], *EVALUATORS.get(model, [])]
    name = f"{start.__name__}-{model}-{variant}"
    saving = case.shared / f"{name}.calls"
    expected = whole(case, name, base, start, recorded(saving))
    calls: dict[str, Any] = json.loads(saving.read_text()) if start is fork else {}
    kills = runs = 0
    while kills < count:
        runs += 1
        run = case.folder / f"run-{runs}"
        words = ["train", *base, f"hydra.run.dir={run}"]
        while kills < count and killed_once(start, words, calls, expected["seconds"], case.rng):
            kills += 1
        failure = resumed(case, base, run, expected, start)
        if failure:
            return f"{model} {' '.join(VARIANTS[variant])}: {failure}"
    return None


PROMISE = "a killed run resumes by itself and ends with the same bits and metrics"
FAULTS = [
    FaultClass("kills", PROMISE, 100 * len(MODELS), partial(trial, fork, KILLS), KILLS, short=2),
    FaultClass(
        "kills_command", f"{PROMISE}: the real command", 60, partial(trial, real, REAL_KILLS), REAL_KILLS, short=1
    ),
]

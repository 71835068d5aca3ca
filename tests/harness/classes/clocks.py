"""A clock that is set back or forward between and during the parts of a run."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.harness.endings import ending
from tests.harness.fault_class import Case, FaultClass
from tests.support.tiny_runs import difference, fingerprint

WORDS = ["train", "dataset=digits", "model.network.hidden=[8]", "model.latent_dim=2", "trainer.batch_size=16",
    "trainer.log_every=1",
         "checkpoint.every=1", "evaluator=objective", "evaluator.objective.every=1",
         "logger=[jsonl,tensorboard,images]"]  # fmt: skip
PARTS = (2, 4, 6)  # the run's length in steps, as it grows
DAY = 86400.0
OFFSETS = [0.0, -1.0, -3600.0, -3 * DAY, -400 * DAY, -40 * 365 * DAY, 3600.0, 30 * DAY, 20 * 365 * DAY, 1.0]  # seconds


def shifted(rng: random.Random) -> tuple[Callable[[], None], float]:
    """What sets a process's clock to another time, perhaps one that also jumps while it runs; and the first offset."""
    offset, jump = rng.choice(OFFSETS), rng.choice([0.0, 0.0, 0.0, *OFFSETS])
    left = rng.randrange(1, 60)  # readings of the clock before it jumps

    def before() -> None:
        clock, reads = time.time, 0

        def reading() -> float:
            nonlocal reads
            reads += 1
            return clock() + offset + (jump if reads > left else 0.0)

        time.time = reading

    return before, offset


def trial(case: Case) -> str | None:
    """A run in three parts, each with another clock: equal to the run with one clock, and readers see every step."""
    whole = case.shared / "clocks.json"
    if not whole.exists():
        _parts(case.folder / "whole", [None] * len(PARTS))
        temporary = whole.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(fingerprint(case.folder / "whole")))
        os.replace(temporary, whole)
    clocks = [shifted(case.rng) for _ in PARTS]
    offsets = [offset for _, offset in clocks]
    wrong = _parts(case.folder / "run", [before for before, _ in clocks])
    wrong = (
        wrong
        or difference(json.loads(whole.read_text()), fingerprint(case.folder / "run"))
        or _hidden(case.folder / "run")
    )
    wrong = (
        wrong or ending(["runs", "."], case.folder).wrong((0,)) or ending(["sample", "run"], case.folder).wrong((0,))
    )
    return f"a clock that is off by {offsets} seconds: {wrong}" if wrong else None


def _parts(run: Path, clocks: list[Callable[[], None] | None]) -> str | None:
    run.parent.mkdir(exist_ok=True)
    for steps, before in zip(PARTS, clocks, strict=True):
        wrong = ending(
            [*WORDS, f"trainer.steps={steps}", f"hydra.run.dir={run}", "--allow-change"], run.parent, before
        ).wrong((0,))
        if wrong:
            return wrong
    return None


def _hidden(run: Path) -> str | None:
    """The steps that TensorBoard does not show."""
    events = EventAccumulator(str(run))
    events.Reload()
    shown = [event.step for event in events.Scalars("train/loss")]
    return None if shown == list(range(1, PARTS[-1] + 1)) else f"TensorBoard shows the steps {shown}"


FAULTS = [FaultClass("clocks", "a clock set back or forward: the same run, every step shown", 60, trial, 1, 1)]

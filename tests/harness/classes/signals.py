"""SIGTERM and SIGINT at any moment: the run says so, ends with 143 or 130, and resumes to the same end."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from tests.harness import hooks
from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import VAE, Start, ended_as, real, resumed, whole
from tests.support.processes import Ended, ended, finish, fork, streams, wait

CALLS = ("before open", "half write", "before fsync", "before rename", "before unlink", "before rmdir", "end")


def wrong(found: Ended, signum: int, run: Path) -> str | None:
    """What is wrong with the end of a command that got the signal; it may have been done just before."""
    done = found.code == 0 and '"status": "done"' in (run / "run.json").read_text()
    at_once = found.code == -signum  # by a second signal, or before Python listens
    said = sum(line.startswith("genlab: stopped") for line in found.err.splitlines())
    if done or at_once or (found.code == 128 + signum and said == 1 and "Traceback" not in found.err):
        return None
    return ended_as(found)


def outside(start: Start, case: Case) -> str | None:
    """A signal at a random time of a run, in one try of five a second one soon after; then it is resumed."""
    expected, run = whole(case, f"vae-{start.__name__}", VAE, start), case.folder / "run"
    signum = case.rng.choice((signal.SIGTERM, signal.SIGINT))
    pid = start(["train", *VAE, f"hydra.run.dir={run}"], None, case.folder)
    code = wait(pid, case.rng.uniform(0, expected["seconds"]))
    if code is None:
        os.kill(pid, signum)
        code = wait(pid, case.rng.uniform(0, 0.05)) if case.rng.random() < 0.2 else finish(pid)
        if code is None:
            os.kill(pid, signum)
            code = finish(pid)
    failure = wrong(Ended(code, *streams(case.folder)), signum, run)
    return failure or (resumed(case, VAE, run, expected) if run.exists() else None)


def inside(case: Case) -> str | None:
    """A signal inside a step, an evaluation, or a system call of a save; then the run is resumed."""
    expected, run = whole(case, "vae-fork", VAE), case.folder / "run"
    signum = case.rng.choice((signal.SIGTERM, signal.SIGINT))
    send = hooks.signaled(signum)
    before = case.rng.choice((
        hooks.at_step(case.rng.randint(1, 12), send),
        hooks.in_evaluation(case.rng.randint(1, 5), send),
        hooks.in_save(case.rng.randint(1, 6), hooks.nth(case.rng.choice(CALLS), case.rng.randrange(3), send)),
    ))  # fmt: skip
    found = ended(fork(["train", *VAE, f"hydra.run.dir={run}"], before, case.folder), case.folder)
    return wrong(found, signum, run) or resumed(case, VAE, run, expected)


PROMISE = "SIGTERM and Ctrl-C end with 143 and 130, and the run resumes to the same end"
FAULTS = [
    FaultClass("signals", PROMISE, 300, partial(outside, fork)),
    FaultClass("signals_inside", f"{PROMISE}: in a step, an evaluation, a save", 200, inside),
    FaultClass("signals_command", f"{PROMISE}: the real command, start-up included", 500,
               partial(outside, real), short=1),
]  # fmt: skip

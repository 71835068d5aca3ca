"""Runs that nobody disturbs, made once for all trials, and what a disturbed run must be equal to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness import hooks
from tests.harness.fault_class import Case
from tests.support.processes import Ended, command, ended, fork
from tests.support.tiny_runs import difference, fingerprint

COMMON = ["trainer.batch_size=16", "trainer.steps=12", "trainer.log_every=1", "checkpoint.every=2",
          "trainer.ema_decay=0.9", "schedule=cosine", "logger.console=null"]  # fmt: skip
VAE = ["model=vae", "dataset=digits", "model.network.hidden=[8]", "model.latent_dim=2",
       "evaluator=[objective,samples]", "evaluator.objective.every=3", *COMMON]  # fmt: skip
Before = Callable[[], object] | None
Start = Callable[[list[str], Before, Path | None], int]  # arguments, what the child does first, streams -> process id


def real(arguments: list[str], before: Before = None, output: Path | None = None) -> int:
    """As `fork`, but the real command, in which `before` cannot be called."""
    return command(arguments, output)


def finished(words: list[str], folder: Path, start: Start = fork, before: Before = None) -> Ended:
    """Run `genlab WORDS` to its end."""
    streams = folder / "streams"
    streams.mkdir(exist_ok=True)
    return ended(start(words, before, streams), streams)


def ended_as(found: Ended) -> str:
    """One line for a failure: the code, and the last lines of stderr."""
    return f"ended with code {found.code}: {' | '.join(found.err.splitlines()[-2:])}"


def whole(case: Case, name: str, overrides: list[str], start: Start = fork, before: Before = None) -> dict[str, Any]:
    """The `fingerprint` of a run that nobody disturbs, and its `seconds`; made once under this name."""
    path = case.shared / f"{name}.json"
    if not path.exists():
        run = case.shared / f"{name}-{os.getpid()}"  # another trial may be making the same
        began = time.monotonic()
        found = finished(["train", *overrides, f"hydra.run.dir={run}"], case.folder, start, before)
        assert found.code == 0, f"the run that nobody disturbed {ended_as(found)}"
        text = json.dumps({"fingerprint": fingerprint(run), "seconds": time.monotonic() - began})
        run.with_suffix(".new").write_text(text)
        os.replace(run.with_suffix(".new"), path)
    return dict(json.loads(path.read_text()))


def resumed(case: Case, overrides: list[str], run: Path, expected: dict[str, Any], start: Start = fork) -> str | None:
    """Start the run in `run` once more, undisturbed: it must end as the reference `expected` did."""
    found = finished(["train", *overrides, f"hydra.run.dir={run}"], case.folder, start)
    if found.code != 0:
        return f"the last start {ended_as(found)}"
    differs = difference(expected["fingerprint"], fingerprint(run))
    return f"differs from the run that nobody disturbed: {differs}" if differs else None


def stopped(case: Case) -> Path:
    """A copy of a run of VAE that was stopped at step 7; it has checkpoints of steps 6 and 7."""
    base = case.shared / "stopped"
    if not base.exists():
        run = case.shared / f"stopped-{os.getpid()}"
        stop = hooks.at_step(6, hooks.signaled(signal.SIGTERM))
        found = finished(["train", *VAE, f"hydra.run.dir={run}"], case.folder, before=stop)
        assert found.code == 143, ended_as(found)
        if not base.exists():
            os.rename(run, base)
    return Path(shutil.copytree(base, case.folder / "run"))

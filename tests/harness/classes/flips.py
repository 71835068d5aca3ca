"""One bit of a checkpoint is another: a damaged file is never used in silence."""

from __future__ import annotations

import random
from pathlib import Path

from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import VAE, ended_as, finished, stopped, whole
from tests.support.tiny_runs import difference, fingerprint


def flip(path: Path, rng: random.Random) -> None:
    """Flip one random bit of a file."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def trial(case: Case) -> str | None:
    """A flip in the newest checkpoint, in one try of three in each; then a command that reads it."""
    run = stopped(case)
    steps = sorted((run / "ckpt").iterdir(), reverse=True)
    damaged = steps if case.rng.random() < 1 / 3 else steps[:1]
    for step in damaged:
        flip(case.rng.choice(sorted(step.iterdir())), case.rng)
    before = {path: path.read_bytes() for step in steps for path in step.iterdir()}
    resumes = case.rng.random() < 0.5
    found = finished(["resume", str(run)] if resumes else ["sample", str(run), "n=1"], case.folder)
    lines = found.err.splitlines()
    if len(damaged) == len(steps):
        kept = all(path.read_bytes() == data for path, data in before.items())
        return None if found.code == 4 and kept and "error" in lines[-1] else f"all damaged, {ended_as(found)}"
    if found.code != 0:
        return f"the newest damaged, {ended_as(found)}"
    if sum("skipped damaged checkpoint" in line and steps[0].name in line for line in lines) != 1:
        return f"no warning: {lines}"
    expected = whole(case, "vae", VAE)["fingerprint"]
    differs = difference(expected, fingerprint(run)) if resumes else None
    return f"resumed from the older one, it differs: {differs}" if differs else None


FAULTS = [FaultClass("flips", "a flipped bit in a checkpoint is noticed", 400, trial, short=3)]

"""Something of a run folder is deleted or moved while the run trains: it never ends well with nothing there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.harness import hooks
from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import VAE, ended_as, finished, whole
from tests.support.tiny_runs import difference, fingerprint

NAMES = ("", "lock", "metrics.jsonl", "run.json", "config.yaml", "ckpt", "images", "ckpt/NEWEST", "events")


def target(run: Path, name: str) -> Path | None:
    """The file or folder of this name that is in the run now."""
    if name == "ckpt/NEWEST":
        return max((run / "ckpt").glob("step-*"), default=None)
    if name == "events":
        return next(run.glob("*tfevents*"), None)
    return run / name


def remove(path: Path | None, moves: bool) -> None:
    if path is None or not path.exists():
        return
    if moves:
        os.rename(path, path.with_name(f"moved-{path.name}"))
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # the run may be writing there
    else:
        path.unlink()


def trial(case: Case) -> str | None:
    run, name, moves = case.folder / "run", case.rng.choice(NAMES), case.rng.random() < 0.5
    expected = whole(case, "vae", VAE)["fingerprint"]
    before = hooks.at_step(case.rng.randint(1, 12), lambda: remove(target(run, name), moves))
    found = finished(["train", *VAE, f"hydra.run.dir={run}"], case.folder, before=before)
    what = f"{'moved' if moves else 'deleted'} {name or 'the run folder'}: "
    if found.code == 0:
        if moves and name == "ckpt/NEWEST":
            shutil.rmtree(run / "ckpt" / next(iter(each.name for each in (run / "ckpt").glob("moved-*"))), True)
        differs = difference(expected, fingerprint(run))
        return f"{what}ended with code 0, but {differs}" if differs else None
    if found.code not in (4, 5) or sum(line.startswith("genlab: error") for line in found.err.splitlines()) != 1:
        return what + ended_as(found)
    return None


FAULTS = [FaultClass("deletes", "a run that loses its files while it trains ends with 5, or whole", 150, trial)]

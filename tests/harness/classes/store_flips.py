"""One bit of a decoded store is another: training ends when that is read, `genlab prepare verify=true` repairs it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from genlab.data import rolling_check
from genlab.data.rolling_check import RollingCheck
from genlab.data.store.store import SMALL
from genlab.utils.file_lock import lock
from tests.harness import hooks
from tests.harness.classes.flips import flip
from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import Before, ended_as, finished
from tests.support import synthetic
from tests.support.processes import PATIENCE, Ended

SIDE = 28
TEST = 20
COUNT = SMALL // SIDE**2 + 600  # training images: the store is a little larger than those hashed at each opening
MODEL = ["model=vae", "model.network.hidden=[4]", "model.latent_dim=2", "trainer.batch_size=8", "evaluator=none",
         "logger=quiet", "checkpoint.every=1000"]  # fmt: skip


def trial(case: Case) -> str | None:
    """A flip before a command or in a training's course; the store is whole again after a repair, and the run ends."""
    data, cache = made(case), case.folder / "cache"
    shutil.copytree(case.shared / "store-flips/cache", cache)
    [store] = (path.parent for path in cache.glob("store/*/meta.json"))
    whole = contents(store)
    victim = store / case.rng.choice(["images.npy"] * 3 + sorted(whole))
    train = ["train", *data, *MODEL, f"hydra.run.dir={case.folder / 'run'}"]
    if case.rng.random() < 0.5:
        flip(victim, case.rng)
        failure = repaired(case, store, whole, data)
    else:
        failure = noticed(case, victim, whole, train) or repaired(case, store, whole, data)
    if failure:
        return f"{victim.name}: {failure}"
    longer = f"trainer.steps={2 * len(blocks(whole)) + 3}"  # than any training before
    found = finished([*train, longer], case.folder, before=inside(cache))
    return f"after the repair, training {ended_as(found)}" if found.code != 0 else None


def made(case: Case) -> list[str]:
    """The overrides that choose the data set; its files and its store are made once."""
    base = case.shared / "store-flips"
    base.mkdir(exist_ok=True)
    words = ["dataset=mnist", f"dataset.root={base / 'data'}", "dataset.valid=100"]
    with lock(base / "lock", "the store"):
        if not (base / "cache").exists():
            shutil.rmtree(base / "data", ignore_errors=True)
            synthetic.mnist(base / "data", train=COUNT, test=TEST, gz=False)
            found = finished(["prepare", *words], case.folder, before=inside(base / "making"))
            assert found.code == 0, ended_as(found)
            os.rename(base / "making", base / "cache")
    return words


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def blocks(whole: dict[str, bytes]) -> list[bytes]:
    """The hashes of the blocks of images."""
    return whole["images.sha256"].split()


def inside(cache: Path) -> Before:
    return lambda: os.environ.update(GENLAB_CACHE=str(cache))


def repaired(case: Case, store: Path, whole: dict[str, bytes], data: list[str]) -> str | None:
    """What is wrong after `genlab prepare verify=true`."""
    damaged = contents(store) != whole
    found = finished(["prepare", *data, "verify=true"], case.folder, before=inside(store.parents[1]))
    if found.code != 0 or ("is damaged" in found.err) != damaged:
        return f"prepare {ended_as(found)}"
    return None if contents(store) == whole else "prepare has left it damaged"


def noticed(case: Case, victim: Path, whole: dict[str, bytes], train: list[str]) -> str | None:
    """What is wrong with a training whose store is damaged before its start or after one of its steps.

    It ends when the check has read every block once since then: one at a step, compared at the next one, and told at
    the one after that. Every piece is waited for, so that no pace of a machine decides what is found.
    """
    one_pass = len(blocks(whole))
    step = case.rng.choice([0, case.rng.randint(1, one_pass)])
    if step == 0:
        flip(victim, case.rng)

    def before() -> None:
        os.environ["GENLAB_CACHE"] = str(victim.parents[2])
        without_rests()
        if step:
            hooks.at_step(step, lambda: flip(victim, case.rng))()

    found = finished([*train, f"trainer.steps={step + one_pass + 2}"], case.folder, before=before)
    if found.code == 0:
        return unread(step, victim, whole, found)
    lines = [line for line in found.err.splitlines() if line.startswith("genlab: error")]
    said = len(lines) == 1 and f"{victim} has changed since it was decoded" in lines[0]
    return None if found.code == 3 and said and "Traceback" not in found.err else f"training {ended_as(found)}"


def unread(step: int, victim: Path, whole: dict[str, bytes], found: Ended) -> str | None:
    """What is wrong with a training that ended well: it may have, if what changed was made anew, or is not read again.

    A store is opened once: of its small files, and the header of the images, nothing is read after the first step.
    """
    if step == 0:
        again = "is damaged" in found.err and victim.read_bytes() == whole[victim.name]
        return None if again else "training has not noticed"
    start = len(whole["images.npy"]) - (COUNT + TEST) * SIDE**2
    changed = victim.read_bytes()
    of_images = victim.name == "images.npy" and changed[start:] != whole["images.npy"][start:]
    return "training has not noticed" if of_images else None


def without_rests() -> None:
    """The check reads a piece at every step, which is waited for."""
    advance = RollingCheck.advance

    def whole_piece(self: RollingCheck, step: int) -> None:
        advance(self, step)
        assert self._begun is not None
        self._begun.exception(timeout=PATIENCE)

    rolling_check.BUSY = 1.0
    RollingCheck.advance = whole_piece  # type: ignore[method-assign]


PROMISE = "a flipped bit in a decoded store ends training with 3 within one pass, and is repaired"
FAULTS = [FaultClass("store_flips", PROMISE, 100, trial)]

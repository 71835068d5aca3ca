"""The record of a sweep: its jobs, their state and final metrics, in a folder that the sweep locks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.errors import BusyError, CheckpointError, ConfigError
from genlab.runs import run_folder
from genlab.runs.lock import Lock
from genlab.sweep.plan import Plan
from genlab.utils import files
from genlab.utils.own_folder import OwnFolder
from genlab.utils.tables import show
from genlab.utils.unique_folder import make_exact, make_new, unmake, writable

LEDGER, LOCK = run_folder.SWEEP, run_folder.LOCK
MAX_LEDGER = 16 * 2**20  # bytes


@dataclass
class Ledger:
    """sweep.json: one entry per job, by number. The lock admits one sweep at a time."""

    folder: Path
    entries: list[dict[str, Any]]
    lock: Lock
    runs: list[Path]  # the folder of each job

    def __post_init__(self) -> None:
        self._own = OwnFolder(self.folder)

    @classmethod
    def open(cls, planned: Plan) -> Ledger:
        """A new ledger, or that of the folder if it has the same jobs."""
        fresh = [{"overrides": job.varies, "key": job.key, "status": "waiting"} for job in planned.jobs]
        if planned.named:
            _refuse_foreign(planned.folder)
        folder, lock = _claim(planned)
        try:
            runs = [folder / job.folder(index) for index, job in enumerate(planned.jobs)]
            ledger = cls(folder, _same(folder / LEDGER, fresh), lock, runs)
            ledger.write()
        except BaseException:
            lock.release()
            raise
        return ledger

    def set(self, index: int, **values: Any) -> None:
        self.entries[index].update(values)
        self.write()

    def write(self) -> None:
        """Replace sweep.json. ResourceError if the folder or its lock has been removed or moved."""
        self._own.check(LOCK, self.lock.fd)
        self._own.write(LEDGER, files.dump_json({"jobs": self.entries}))

    def table(self) -> None:
        """Print the state and the final metric of each job."""
        rows = [[str(index), " ".join(entry["overrides"]) or "-", entry["status"], str(entry.get("code", "-")),
                 entry.get("metric", "-"), str(self.runs[index])]
                for index, entry in enumerate(self.entries)]  # fmt: skip
        show(["job", "overrides", "status", "code", "metric", "folder"], rows)


def final_metric(record: Mapping[str, Any]) -> tuple[str, float] | None:
    """The final value of the monitored metric, else of the model's loss, else of the first validation metric.

    The loss of a phase, `valid/generator/loss`, is none of them: it depends on the other networks too.
    """
    metrics = {key: value for key, value in (record.get("metrics") or {}).items() if isinstance(value, int | float)}
    best = (record.get("best") or {}).get("metric")
    ranked = [best, "valid/loss", *(key for key in metrics if re.fullmatch("valid/[^/]+", key))]
    name = next((key for key in ranked if key in metrics), None)
    return (name, metrics[name]) if name else None


def _claim(planned: Plan) -> tuple[Path, Lock]:
    """Create the folder of the sweep if needed and lock it; an error leaves nothing behind."""
    folder, made = planned.folder, list[Path]()
    try:
        with writable(folder):
            folder = (make_exact if planned.named else make_new)(folder, made)
            return folder, Lock(folder / LOCK)
    except BusyError:
        raise  # another sweep was faster and now uses the folder
    except BaseException:
        unmake(made, folder / LOCK)
        raise


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and not (folder / LEDGER).exists() and any(entry.name != LOCK for entry in folder.iterdir()):
        raise ConfigError(f"'{folder}' is neither empty nor a sweep", "key hydra.sweep.dir", "name a new folder")


def _same(path: Path, fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of the ledger at `path`, which must have the same jobs; `fresh` if there is no ledger."""
    if not path.exists():
        return fresh
    try:
        entries = files.parse_json(files.read_bounded(path, MAX_LEDGER))["jobs"]
        keys = [entry["key"] for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the ledger cannot be read ({error})", f"file {path}", "use a new hydra.sweep.dir"
        ) from None
    if keys != [entry["key"] for entry in fresh]:
        raise CheckpointError(
            "the folder holds a sweep of other jobs", f"file {path}", "use the same command, or a new hydra.sweep.dir"
        )
    return list(entries)

"""The run folder: claimed once, locked while in use, its record replaced atomically. Never imports torch.

<run>/lock          who is using it          <run>/run.json      status, metrics, versions ...
<run>/config.yaml   the resolved config      <run>/ckpt/ ...     what training writes
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genlab.config.yaml_file import dump_config, parse_config
from genlab.errors import BusyError, CheckpointError, ConfigError, nearest, raise_if_exhausted
from genlab.runs.lock import Lock, is_held
from genlab.runs.record import checked
from genlab.utils.files import DISK_FULL, disk_full, dump_json, parse_json, read_bounded
from genlab.utils.own_folder import OwnFolder
from genlab.utils.unique_folder import check_path, make_exact, make_new, unmake, writable

RECORD, CONFIG, LOCK = "run.json", "config.yaml", "lock"
SWEEP = "sweep.json"  # in the folder of a sweep
MODEL_FILE = ".safetensors"  # the ending of a model file, which stands for a run where only its model is needed
RECORD_LIMIT, CONFIG_LIMIT = 4 * 2**20, 2**18  # bytes
# what a process that was killed right after its claim leaves: such a folder is still as good as new
EARLY = re.compile(rf"({re.escape(LOCK)}|{re.escape(CONFIG)}|\.tmp-({re.escape(RECORD)}|{re.escape(CONFIG)})\.\d+)")
SCAN_DEPTH = 5  # outputs/sweeps/<name>/<job>/<time>


class RunFolder:
    """A run folder that this process holds. `record` is its run.json; empty: the run is new."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self.path = path
        self.own = OwnFolder(path)
        self._lock = lock
        self.record: dict[str, Any] = _read_record(path) if (path / RECORD).exists() else {}

    @staticmethod
    def claim(path: Path, exact: bool) -> RunFolder:
        """Create the folder if needed and lock it; an error leaves nothing behind.

        `exact`: this very folder, which is new, empty or an existing run. Otherwise a folder that nobody has: on a
        collision the name gets -1, -2 ... ConfigError if the path is unusable, BusyError if the run is in use.
        """
        path = check_path(path)
        made: list[Path] = []
        try:
            with writable(path):
                path = make_exact(path, made) if exact else make_new(path, made)
                _refuse_foreign(path)
                lock = Lock(path / LOCK)
            return _hold(path, lock)
        except BusyError:  # the folder is another's now, even if we made it
            raise
        except BaseException:
            unmake(made, path / LOCK)
            raise

    @staticmethod
    def open(path: Path) -> RunFolder:
        """The existing run in `path`, locked, to be resumed. ConfigError if there is none, BusyError if in use."""
        path = Path(path).absolute()
        if not is_run(path):
            raise ConfigError(f"'{path}' is not a run", f"it has no {RECORD}", "`genlab runs` lists the runs")
        with writable(path):
            lock = Lock(path / LOCK)
        return _hold(path, lock)

    def update(self, **fields: Any) -> None:
        """Set these fields of run.json, which is replaced at once. Non-finite numbers are written as null.

        ResourceError if the folder or its lock has been removed or moved: another process may have started here.
        """
        self.own.check(LOCK, self._lock.fd)
        self.record.update(fields)
        self._write(RECORD, dump_json(_plain(self.record), indent=2) + b"\n")

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the resolved configuration to config.yaml."""
        self._write(CONFIG, dump_config(config))

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.own.write(name, data)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise disk_full(error, self.path / name, len(data)) from None
            raise

    def release(self) -> None:
        """Unlock the folder; a second call does nothing."""
        self._lock.release()


def is_run(path: Path) -> bool:
    """Whether `path` is the folder of a run."""
    try:
        return (path / RECORD).is_file()
    except (OSError, ValueError):  # no permission to look; a NUL in the name
        return False


def _is_sweep(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return (path / SWEEP).is_file()
    return False


def read_config(path: Path) -> dict[str, Any]:
    """config.yaml of the run in `path`, which need not be locked. CheckpointError if it is damaged or hostile."""
    try:
        return parse_config(read_bounded(path / CONFIG, CONFIG_LIMIT))
    except (OSError, ValueError) as error:
        raise_if_exhausted(error)
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{CONFIG} cannot be used ({reason})", str(path / CONFIG), "restore it, or start a new run"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """run.json of the run in `path`, which need not be locked; a run that was killed has status "killed".

    CheckpointError if the file is damaged.
    """
    try:
        record = checked(_read_record(path))
    except ValueError as error:  # pydantic's: its second line names the field
        reason = " ".join(str(error).splitlines()[1:3])[:200]
        raise CheckpointError(
            f"{RECORD} is invalid ({reason})", str(path / RECORD), "restore it, or start a new run in another folder"
        ) from None
    if record.get("status") == "running" and not is_held(path / LOCK):
        record["status"] = "killed"
    return record


def data_record(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The record of the run's data set; CheckpointError if it is missing."""
    data: dict[str, Any] | None = record.get("data")
    if not data:
        raise CheckpointError(f"{RECORD} does not say what the run was trained on", str(path), "start a new run")
    return data


def find(run: str, root: Path = Path("outputs")) -> Path:
    """The folder of `run`: a path, a name below `root`, or "last", the run that was started latest."""
    if run == "last":
        records = [record for record in scan(root) if _started(record)]
        if not records:
            raise ConfigError("there is no last run", f"no run below '{root}'", "start one with `genlab train`")
        return Path(records[-1]["path"])
    candidates = [Path(run), root / run]
    for path in candidates:
        if is_run(path):
            return path
    if sweep := next((path for path in candidates if _is_sweep(path)), None):
        first = next((each for each in scan(sweep)), {"path": sweep / "JOB"})["path"]
        hint = f"name one of them, e.g. {first}, or `genlab compare {sweep}`"
        raise ConfigError(f"'{run}' is a sweep", "this takes one of its runs", hint)
    known = [str(Path(record["path"]).relative_to(root)) for record in scan(root)]
    there = "no such folder" if "\0" in run or not os.path.isdir(run) else f"the folder has no {RECORD}"
    raise ConfigError(
        f"'{run}' is not a run", there, nearest(run, known[-20:]) if known else "start one with `genlab train`"
    )


def find_model(run: str) -> Path:
    """As `find`, or a model file of `genlab export`."""
    if run.endswith(MODEL_FILE) and os.path.isfile(run):
        return Path(run)
    return find(run)


def scan(root: Path) -> list[dict[str, Any]]:
    """The records of all runs below `root`, each with its `path`, in the order of their start (seconds since 1970).

    `status` is "killed" for a run that says it is running while nobody holds its lock, and "damaged" where run.json
    cannot be read.
    """
    records = []
    for path in _run_folders(root, SCAN_DEPTH):
        try:
            record = read_record(path)
        except CheckpointError:
            record = {"status": "damaged"}
        records.append({**record, "path": str(path)})
    return sorted(records, key=lambda record: (_started(record), record["path"]))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Dotted keys whose values differ, or that only one side has. A tuple equals a list, 1 equals 1.0, not True."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return sorted(
        key
        for key in before.keys() | after.keys()
        if key not in before or key not in after or before[key] != after[key]
    )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, _comparable(value)


def _comparable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


def _started(record: dict[str, Any]) -> float:
    """Seconds since 1970; 0 if the record does not say."""
    started = record.get("started")
    return float(started) if isinstance(started, int | float) else 0.0


def _hold(path: Path, lock: Lock) -> RunFolder:
    try:
        return RunFolder(path, lock)
    except BaseException:
        lock.release()
        raise


def _refuse_foreign(path: Path) -> None:
    names = set(os.listdir(path))
    if RECORD not in names and not all(map(EARLY.fullmatch, names)) and not is_held(path / LOCK):
        raise ConfigError(
            f"'{path}' is not empty and not a run", f"it has no {RECORD}", "choose a new folder with hydra.run.dir=..."
        )


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = parse_json(read_bounded(path / RECORD, RECORD_LIMIT))
        if not isinstance(record, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise_if_exhausted(error)
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{RECORD} cannot be used ({reason})",
            str(path / RECORD),
            "restore it, or start a new run in another folder",
        ) from error
    return record


def _run_folders(root: Path, depth: int) -> Iterator[Path]:
    """Folders with a run.json, not below one another, links not followed."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    if any(entry.name == RECORD and entry.is_file(follow_symlinks=False) for entry in entries):
        yield root
    elif depth:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _run_folders(root / entry.name, depth - 1)


def _plain(value: Any) -> Any:
    """Convert to JSON values: tuples to lists, NumPy and torch scalars to numbers, NaN and infinities to None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)

"""metrics.jsonl: the truth about a run, one flat JSON record a line."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genlab.core.values import Logger
from genlab.errors import ResourceError
from genlab.registry import LOGGERS
from genlab.utils.files import parse_json, write_all
from genlab.utils.own_folder import OwnFolder

FILE = "metrics.jsonl"


@LOGGERS("jsonl")
class JsonLines(Logger):
    """Appends `{"step", "time" (unix seconds), "split", then names: numbers}` to RUN/metrics.jsonl.

    A run that resumes at step k first drops what was logged after k, and any torn line. A number that is not
    finite is written as null, for JSON has no other word for it. ResourceError if it cannot be written.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        self._folder = OwnFolder(folder)
        last_step = -1 if resumed_at is None else resumed_at
        with self._writing():
            lines = (self._folder.read(FILE) or b"").split(b"\n")
            self._folder.write(FILE, b"".join(line + b"\n" for line in lines if _step(line) <= last_step))
            self._file = self._folder.append(FILE)  # nothing waits in a buffer for a full disk

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ResourceError(
                f"cannot write the metrics ({error.strerror or error})",
                str(self._folder.path / FILE),
                "make room or give access, then run the same command again to resume",
            ) from error

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        record: dict[str, Any] = {"step": step, "time": round(time.time(), 3), "split": split}
        record |= {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with self._writing():
            write_all(self._file.fileno(), line)

    def flush(self) -> None:
        """Onto the disk. ResourceError if the file has been removed or moved meanwhile."""
        with self._writing():
            os.fsync(self._file.fileno())
            self._folder.check(FILE, self._file.fileno())

    def close(self) -> None:
        if not self._file.closed:
            self.flush()
            self._file.close()


def _step(line: bytes) -> float:
    """The step of a record; infinity for a line that is not a whole record."""
    try:
        record = parse_json(line)
    except ValueError:
        return math.inf
    step = record.get("step") if isinstance(record, dict) else None
    return step if isinstance(step, int) else math.inf

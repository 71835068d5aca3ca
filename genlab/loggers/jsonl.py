"""metrics.jsonl: the truth about a run, one flat JSON record a line."""

from __future__ import annotations

import errno
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
from genlab.runs.metrics_file import FILE, records
from genlab.utils.files import write_all
from genlab.utils.own_folder import OwnFolder


@LOGGERS("jsonl")
class JsonLines(Logger):
    """Appends `{"step", "time" (unix seconds), "split", then names: numbers}` to RUN/metrics.jsonl.

    A run that resumes at step k first drops what was logged after k, and any torn line. A record of step k that is
    there already is not repeated: a run that is killed during its evaluations starts them anew. A number that is not
    finite is written as null, for JSON has no other word for it. ResourceError if it cannot be written.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        self._folder = OwnFolder(folder)
        last_step = -1 if resumed_at is None else resumed_at
        self._known: set[tuple[int, str, frozenset[str]]] = set()  # the records of step k
        with self._writing():
            with self._folder.replacing(FILE) as file:
                for line, record in records(self._folder):
                    if record["step"] <= last_step:
                        file.write(line)
                    if record["step"] == last_step:
                        self._known.add(_key(record))
            self._file = self._folder.append(FILE)  # nothing waits in a buffer for a full disk

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # errors.py names it
            raise ResourceError(
                f"cannot write the metrics ({error.strerror or error})",
                str(self._folder.path / FILE),
                "make room or give access, then run the same command again to resume",
            ) from error

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        record: dict[str, Any] = {"step": step, "time": round(time.time(), 3), "split": split}
        record |= {name: value if math.isfinite(value) else None for name, value in values.items()}
        if _key(record) in self._known:
            return
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


def _key(record: Mapping[str, Any]) -> tuple[int, str, frozenset[str]]:
    """What no two records of a run share: each evaluator has names of its own."""
    return record["step"], record["split"], frozenset(record)

"""Reading metrics.jsonl, a run's numbers: a line at a time, for a stranger's file may hold anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from genlab.utils.files import parse_json
from genlab.utils.own_folder import OwnFolder

FILE = "metrics.jsonl"
LINE_LIMIT = 2**20  # bytes: a longer line is not a record
LARGEST = sys.float_info.max


def records(folder: OwnFolder) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line of the run in `folder` and the record in it: `step`, `time`, `split`, then names and numbers or None.

    Lines that are torn or not a record are skipped. CheckpointError if the file is a link.
    """
    with folder.reading(FILE) as file:
        if file is None:
            return
        for line in iter(partial(file.readline, LINE_LIMIT), b""):
            record = _record(line)
            if record is not None:
                yield line.rstrip(b"\n") + b"\n", record


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = parse_json(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not {"step", "time", "split"} <= found.keys():
        return None
    numbers = {name: value for name, value in found.items() if name != "split" and value is not None}
    whole = type(found["step"]) is int and isinstance(found["split"], str) and found["time"] is not None
    return found if whole and all(map(_is_number, numbers.values())) else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST

"""Standard streams that are closed, full, without a reader, or not open for writing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness import trained
from tests.harness.endings import ending
from tests.harness.fault_class import Case, FaultClass

COMMANDS = [["train", "model.network.hidden=[8]", "trainer.steps=2", "logger=default", "hydra.run.dir=new"],
    ["train", "model=vea"],
            ["train", "dry_run=true", "model.network.hidden=[8]"], ["train", "--cfg", "job"], ["train", "--help"],
            ["--version"], ["list"],
            ["info", "model=vae"], ["runs", "."], ["sample", "run", "n=4"], ["eval", "run"],
            ["resume", "run", "trainer.steps=3"],
            ["prepare", "dataset=digits"], ["anomaly", "run", "image=photos"], ["sample", "nothing"],
            ["completion", "bash"]]  # fmt: skip
PLAIN, TRAINS = ("as they were", "closed"), ("train", "resume")


def closed(stream: int) -> None:
    os.close(stream)


def full(stream: int) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), stream)


def without_reader(stream: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, stream)


def only_to_read(stream: int) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), stream)


STATES: dict[str, Callable[[int], object]] = {
    "as they were": lambda stream: None, "closed": closed, "full": full, "without a reader": without_reader,
    "only to read": only_to_read,
}  # fmt: skip


def expected(command: list[str], out: str) -> tuple[int, ...]:
    """The codes that are right if standard output is `out`: what cannot be printed fails a command that only prints."""
    if command in (["train", "model=vea"], ["sample", "nothing"]):
        return (2,)
    if out in PLAIN or (command[0] in TRAINS and "=true" not in command[1] and command[1][0] != "-"):
        return (0,)
    return (0, 141) if out == "without a reader" else (0, 5)


def trial(case: Case) -> str | None:
    """One command with its three streams in some state: the code is right and a run that trained is done."""
    states = [case.rng.choice(list(STATES)) for _ in range(3)]
    command = COMMANDS[case.number % len(COMMANDS)]
    run = trained.copied("vae", case.shared, case.folder)

    def before() -> None:
        for stream in sorted(range(3), key=lambda each: states[each] == "closed"):  # last: a file would take its number
            STATES[states[stream]](stream)
        sys.stdout, sys.stderr = (_opened(stream, states[stream]) for stream in (1, 2))

    ended = ending(command, case.folder, before)
    wrong = None if ended.code in expected(command, states[1]) else f"code {ended.code}: {ended.err[-300:]}"
    wrong = wrong or ("a traceback" if "Traceback" in ended.err + ended.out else None) or unfinished(command, run)
    return f"genlab {command} with streams {', '.join(states)}: {wrong}" if wrong else None


def _opened(stream: int, state: str) -> Any:
    """As Python opens its standard streams."""
    return None if state == "closed" else open(stream, "w", closefd=False)


def unfinished(command: list[str], run: Path) -> str | None:
    """What is missing from the run that `command` trained."""
    folder = {"resume": run, "train": run.with_name("new")}.get(command[0])
    if folder is None or not (folder / "run.json").exists():
        return None
    record = json.loads((folder / "run.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return None if record["status"] == "done" and lines else f"the run is {record['status']} with {len(lines)} records"


PROMISE = "closed, full and broken streams: the code is right, training continues"
FAULTS = [FaultClass("streams", PROMISE, 400, trial, 1, 10)]

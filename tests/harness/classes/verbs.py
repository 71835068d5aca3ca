"""SIGKILL while a command writes: no half file has a final name, and the same command works again."""

from __future__ import annotations

import json
import os
import re
import signal
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.harness import hooks
from tests.harness.fault_class import Case, FaultClass
from tests.harness.reference import Before, ended_as, finished
from tests.harness.trained import RUNS, copied, words
from tests.support.durable import everything, hooked
from tests.support.synthetic import folder as images

IMAGES, ARRAYS = (".png", ".gif", ".webp"), (".npy", ".npz")
COMMANDS = [(name, command) for name, (_, commands) in RUNS.items() for command in commands
            if command[0] not in ("resume", "info", "runs")]  # fmt: skip


def half(path: Path) -> bool:
    """Whether a file is cut off."""
    try:
        if path.suffix in IMAGES:
            with Image.open(path) as image:
                for frame in range(getattr(image, "n_frames", 1)):
                    image.seek(frame)
                    image.load()
        elif path.suffix in ARRAYS:
            loaded = np.load(path)
            if path.suffix == ".npz":
                [loaded[name] for name in loaded]
        elif path.suffix in (".json", ".jsonl"):
            text = path.read_text()
            [json.loads(line) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]
        elif path.suffix == ".html":
            return not path.read_text().rstrip().endswith("</html>")
    except (OSError, ValueError, EOFError):
        return True
    return False


def files(folder: Path) -> list[str]:
    """What lies below a folder, without temporary files of killed commands and what is named after a date."""
    return [name for name in everything(folder) if "/." not in f"/{name}" and not re.search("/seen/|tfevents", name)]


def inside(folder: Path, action: Callable[[], object]) -> Before:
    """Work in `folder`, and call `action` before each system call that changes the disk, and inside each write."""

    def before() -> None:
        os.chdir(folder)
        os.environ["GENLAB_CACHE"] = "cache"
        hooked(pytest.MonkeyPatch(), lambda when, operation: action())

    return before


def killed_at(number: int) -> Callable[[], object]:
    """An action: SIGKILL at call `number`, from 0."""
    left = [number]

    def action() -> None:
        left[0] -= 1
        if left[0] < 0:
            hooks.killed()

    return action


def undisturbed(case: Case, key: str, arguments: list[str], folder: Path) -> dict[str, Any]:
    """The `files` of a command that nobody kills, and how many `calls` change the disk; made once under this key."""
    path = case.shared / f"verb-{key}.json"
    if not path.exists():
        with (case.folder / "calls").open("wb", buffering=0) as calls:
            found = finished(arguments, case.folder, before=inside(folder, lambda: calls.write(b".")))
        if found.code == 2:
            raise unittest.SkipTest(f"{arguments[0]} is refused")
        assert found.code == 0, ended_as(found)
        text = json.dumps({"files": files(folder), "calls": (case.folder / "calls").stat().st_size})
        path.with_suffix(f".{os.getpid()}").write_text(text)
        os.replace(path.with_suffix(f".{os.getpid()}"), path)
    return dict(json.loads(path.read_text()))


def killed(case: Case, expected: dict[str, Any], arguments: list[str], folder: Path) -> str | None:
    """Kill a command at one of its system calls that change the disk; then let it end."""
    before = inside(folder, killed_at(case.rng.randrange(expected["calls"])))
    found = finished(arguments, case.folder, before=before)
    if found.code != -signal.SIGKILL:
        return ended_as(found)
    torn = [name for name in files(folder) if half(folder / name)]
    if torn:
        return f"half files: {torn[:3]}"
    found = finished(arguments, case.folder, before=inside(folder, lambda: None))
    if found.code != 0:
        return f"the same command again {ended_as(found)}"
    odd = set(files(folder)) ^ set(expected["files"])
    return f"other files than without the kill: {sorted(odd)[:3]}" if odd else None


def trial(case: Case) -> str | None:
    """Every command that writes, in turn."""
    number = case.number % len(COMMANDS)
    name, command = COMMANDS[number]
    folders = [case.folder / each for each in ("undisturbed", "killed")]
    for folder in folders:
        copied(name, case.shared, folder)
    arguments = words(command, Path("run"))
    expected = undisturbed(case, str(number), arguments, folders[0])
    failure = killed(case, expected, arguments, folders[1])
    return failure and f"{command[0]}: {failure}"


def prepare(case: Case) -> str | None:
    """The decoding of a folder of images into a store."""
    folders = [case.folder / each for each in ("undisturbed", "killed")]
    for folder in folders:
        images(folder / "photos", {"cat": 20, "dog": 20})
    arguments = ["prepare", "dataset=folder", "dataset.root=photos", "dataset.size=8"]
    expected = undisturbed(case, "prepare", arguments, folders[0])
    return killed(case, expected, arguments, folders[1])


FAULTS = [
    FaultClass("verbs", "a killed command leaves no half file, and works again", 300, trial),
    FaultClass("prepare", "a killed `genlab prepare` leaves no half store, and works again", 100, prepare),
]

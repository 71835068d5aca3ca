"""Links planted in a run folder, in place of every file that a command writes or reads and of every folder it uses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.harness import trained
from tests.harness.endings import ending
from tests.harness.fault_class import Case, FaultClass

COMMANDS = [(name, command) for name, (_, commands) in trained.RUNS.items() for command in commands]
# what stands outside: names that a command would write, delete or sweep if it came here
OUTSIDE = ["metrics.jsonl", "samples-00000009.png", "objective-test.json", "tensors.tsv", ".tmp-run.json.1", "run.json",
           "codes/tensors.tsv", "step-00000009/manifest.json", ".trash-step-00000001/state.json", "lock"]  # fmt: skip
LINKS: dict[str, Callable[[Path, Path], str]] = {  # the place of the link, the folder outside -> what it says
    "a file": lambda link, outside: os.path.relpath(outside / OUTSIDE[0], link.parent),
    "a file by its full path": lambda link, outside: str(outside / OUTSIDE[1]),
    "a folder": lambda link, outside: os.path.relpath(outside, link.parent),
    "nothing": lambda link, outside: str(outside / "nothing"),
    "another link": lambda link, outside: str(outside.with_name("link")),
    "a copy of what was here": lambda link, outside: str(outside / "copy"),
    "itself": lambda link, outside: link.name,
}
HARD = "a file, by a hard link"


def states(folder: Path) -> dict[str, tuple[int, ...]]:
    """Every file and folder below `folder`, with what changes when it is written."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        times = () if path.is_dir() else (status.st_mtime_ns, status.st_size)
        found[str(path.relative_to(folder))] = (status.st_ino, status.st_mode, *times)
    return found


def touched(case: Case, name: str, command: list[str]) -> list[str]:
    """What `command` writes in a run, the folders of these files, and what it may read; kept for all trials."""
    known = case.shared / f"touched-{COMMANDS.index((name, command))}.json"
    if not known.exists():
        run = trained.copied(name, case.shared, case.folder / "first")
        before = states(run)
        ended = ending(trained.words(command, run), run.parent)
        assert not ended.code, ended.err
        changed = {path for path, state in states(run).items() if before.get(path) != state}
        read = {
            path for path in before if path in ("config.yaml", "run.json", "report.html") or path.startswith("ckpt/")
        }
        folders = {str(parent) for path in changed | read for parent in Path(path).parents} - {"."}
        temporary = known.with_suffix(f".{os.getpid()}")
        # the names of event files hold the time of their start
        temporary.write_text(
            json.dumps(sorted(path for path in changed | read | folders if not path.startswith("events.")))
        )
        os.replace(temporary, known)
    return list(json.loads(known.read_text()))


def plant(place: Path, kind: str, outside: Path) -> None:
    """A link in `place`, and outside what it could harm."""
    for file in OUTSIDE:
        (outside / file).parent.mkdir(parents=True, exist_ok=True)
        (outside / file).write_text("mine")
    outside.with_name("link").symlink_to(outside / OUTSIDE[0])
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        (shutil.copytree if place.is_dir() else shutil.copy)(place, outside / "copy")
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    if kind == HARD:
        place.hardlink_to(outside / OUTSIDE[0])
    else:
        place.symlink_to(LINKS[kind](place, outside))


def trial(case: Case) -> str | None:
    """One command on a run with one link: nothing outside changes; the code is 0 or 4, 2 if it is no longer a run."""
    turn, number = divmod(case.number, len(COMMANDS))
    name, command = COMMANDS[number]
    places = [(path, kind) for path in touched(case, name, command) for kind in (*LINKS, HARD)]
    if not places:
        return None
    path, kind = places[turn * 37 % len(places)]  # another place and kind each time
    run, outside = trained.copied(name, case.shared, case.folder), case.folder / "outside"
    plant(run / path, kind, outside)
    before = states(outside)
    ended = ending(trained.words(command, run), case.folder)
    wrong = ended.wrong((0, 2, 4) if path == "run.json" else (0, 4))
    if states(outside) != before:
        wrong = f"what the link led to was changed: {set(states(outside).items()) ^ set(before.items())}"
    return f"genlab {command} of {name} with {path} a link to {kind}: {wrong}" if wrong else None


FAULTS = [
    FaultClass("links", "a link in a run folder is not followed out of it: nothing outside changes", 1000, trial, 1, 16)
]

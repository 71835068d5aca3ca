"""The results of `genlab eval`: a file in RUN/eval for each protocol and checkpoint, all of them listed in run.json."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.errors import ConfigError, GenlabError
from genlab.runs.record import Evaluation
from genlab.utils.files import parse_json
from genlab.utils.own_folder import OwnFolder

FOLDER = "eval"
FILE_LIMIT, LISTED_LIMIT = 2**17, 2**20  # bytes of one result, and of those in run.json, which is read up to 4 MB
MOST_FILES = 2000  # that are looked at
LONG = 60  # characters of the options in a file name
UNSAFE = re.compile(r"[^\w.]+", re.ASCII)  # in file names
SEED_SD = "_seed_sd"  # ending of a number's standard deviation over sampling seeds
IDENTITY = ("evaluator", "options", "split", "seed", "repeats", "step", "weights")  # entries that tell protocols apart


def variant(options: Mapping[str, Any]) -> str:
    """Options as a part of a file name: `images500-extractorpixels`; long ones are cut and end in a hash."""
    return "-".join(_word(key, value) for key, value in sorted(options.items()))


def _word(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    word = UNSAFE.sub("-", text).strip("-")
    if word == text and len(word) <= LONG:
        return f"{key}{word}"
    return f"{key}-{word[:LONG]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def file_stem(title: str, split: str | None, variant: str, step: int) -> str:
    """The name of a result without suffix: `fid-test-images500-00003000`, its step last as in RUN/images."""
    words = [UNSAFE.sub("-", title)[:LONG], split or "", variant]
    name = "-".join(filter(None, words))
    if len(name) > 3 * LONG:  # a file system takes 255 bytes
        name = f"{name[: 2 * LONG]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"{name}-{step:08d}"


def step_of(file: str) -> int:
    """The step in the name of a result; -1 if it has none."""
    found = re.search(r"-(\d{8,15})\.json$", file)
    return int(found[1]) if found else -1


def newest(run: Path, name: str) -> Path | None:
    """The file of the result `name`, such as "fid-test-images500", at the highest step; None if there is none."""
    pattern = re.compile(rf"{re.escape(name)}-\d{{8,15}}\.json")
    names = OwnFolder(run).names(FOLDER) if run.is_dir() else []
    files = [file for file in names if pattern.fullmatch(file)]
    return run / FOLDER / max(files, key=step_of) if files else None


def refuse_taken(run: Path, file: str, protocol: Mapping[str, Any]) -> None:
    """ConfigError if `file` holds the result of another protocol, which would be lost."""
    found = read(OwnFolder(run), file) if run.is_dir() else None  # of a model file, where nothing was written yet
    if found is None or all(found["protocol"].get(key) == protocol.get(key) for key in IDENTITY):
        return
    other = ", ".join(key for key in IDENTITY if found["protocol"].get(key) != protocol.get(key))
    raise ConfigError(
        f"this name is taken by a result of other {other}", f"file {run / FOLDER / file}", "choose another name=..."
    )


def read_all(run: Path) -> list[dict[str, Any]]:
    """The results in RUN/eval, those of the newest step first, as `evaluations` in run.json lists them.

    Files that are damaged, too long or links are left out, as are the oldest if all are too long for run.json.
    """
    try:
        own = OwnFolder(run)
        files = [file for file in own.names(FOLDER) if file.endswith(".json")]
    except (GenlabError, OSError):  # a link in place of the folder
        return []
    listed, size = [], 0
    for file in sorted(files, key=lambda file: (-step_of(file), file))[:MOST_FILES]:
        found = read(own, file)
        size += len(json.dumps(found))
        if size > LISTED_LIMIT:
            break
        if found:
            listed.append(found)
    return listed


def images(run: Path) -> list[tuple[str, int, Path]]:
    """Title, step and file of the images in RUN/eval, of each title those of the newest step; newest first."""
    try:
        files = OwnFolder(run).names(FOLDER)
    except (GenlabError, OSError):  # a link in place of the folder
        return []
    newest: dict[str, tuple[str, int, Path]] = {}
    matches = filter(None, (re.fullmatch(r"(.+)-(\d{8,15})-(.+)\.png", file) for file in files))
    for match in sorted(matches, key=lambda match: -int(match[2]))[:MOST_FILES]:
        title = f"{match[3]} of {match[1]}"
        newest.setdefault(title, (title, int(match[2]), run / FOLDER / match[0]))
    return sorted(newest.values(), key=lambda each: (-each[1], each[0]))


def read(own: OwnFolder, file: str) -> dict[str, Any] | None:
    """The result in RUN/eval/`file`; None if it is missing, damaged, too long or a link."""
    try:
        found = parse_json(own.read(f"{FOLDER}/{file}", FILE_LIMIT) or b"")
        return Evaluation.model_validate({**found, "file": file}).model_dump()
    except (GenlabError, OSError, ValueError, TypeError):
        return None

"""The runs that a command's words name: run folders, folders of runs such as a sweep, and patterns."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genlab.errors import ConfigError
from genlab.runs import run_folder
from genlab.utils.paths import user_path

MOST = 10_000  # paths that a pattern may have


def select(names: Sequence[str], where: str, root: Path = Path("outputs")) -> list[dict[str, Any]]:
    """The records of the named runs as of `run_folder.scan`, each run once, in the order of the names.

    A name is a run, a folder with runs below it, a pattern (`*`, `?`, `[...]`) of these, any of them also below `root`,
    or "last". `where` is the command, for messages. ConfigError for a name without a run.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        records = [record for path in _paths(name, where, root) for record in run_folder.scan(path)]
        if not records:
            run_folder.find(name, root)  # says what is wrong
            raise ConfigError(f"'{name}' contains no run", where, "`genlab runs` lists the runs")
        for record in records:
            found.setdefault(os.path.realpath(record["path"]), record)
    return list(found.values())


def _paths(name: str, where: str, root: Path) -> Iterator[Path]:
    if name == "last":
        yield run_folder.find(name, root)
        return
    given = user_path(name, where)
    paths = [given, root / given]
    existing = next((path for path in paths if path.is_dir()), None)
    if existing is not None or not glob.has_magic(name):
        yield existing or given
        return
    matches = (list(itertools.islice(glob.iglob(str(path)), MOST)) for path in paths)
    yield from map(Path, sorted(next(filter(None, matches), [])))

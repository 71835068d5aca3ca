"""Plug-ins of the current folder that its user trusts: they are loaded without `--plugin` and PYTHONPATH.

Loading a plug-in runs its code, and a folder may come from anybody. So no file in the folder can ask for it: consent is
stored in the user's own configuration folder, by absolute path; `genlab new` and `genlab trust` write it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

from genlab.errors import ConfigError, raise_if_exhausted
from genlab.utils import files
from genlab.utils.own_folder import OwnFolder

FILE = "trusted.json"
CONFIGS = "configs"  # beside the plug-ins: the folder of their YAML files
LIMIT = 2**20  # bytes


def store() -> Path:
    """The file with the user's consent. It need not exist."""
    from platformdirs import user_config_dir

    return Path(user_config_dir("genlab")) / FILE


def plugins(folder: Path) -> list[str]:
    """The modules in `folder` that the user trusts and that are there; [] if the file cannot be read."""
    try:
        names = _read().get(str(folder.resolve()), [])
        return [name for name in names if isinstance(name, str) and (folder / f"{name}.py").is_file()]
    except (OSError, ValueError) as error:
        raise_if_exhausted(error)
        return []


def config_dirs(folder: Path) -> list[str]:
    """The folder of configurations beside trusted plug-ins, as an absolute path."""
    return [str((folder / CONFIGS).absolute())] if plugins(folder) and (folder / CONFIGS).is_dir() else []


def of_current_folder() -> tuple[list[str], list[str]]:
    """The plug-ins that the user trusts in the current folder, which Python now finds, and its configurations."""
    folder = here()
    if folder is None or not (names := plugins(folder)):
        return [], []
    find_modules(folder, names)
    return names, config_dirs(folder)


def trust(folder: Path, name: str) -> None:
    """Store the user's consent to load the module `name` of this folder. ConfigError if it cannot be written."""
    path = store()
    try:
        known = _read()
        here = known.setdefault(str(folder.resolve()), [])
        if name not in here:
            here.append(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        OwnFolder(path.parent).write(FILE, files.dump_json(known))
    except (OSError, ValueError) as error:
        raise_if_exhausted(error)
        raise ConfigError(f"consent cannot be stored ({error})", f"file {path}", "mend or remove it") from None


class _Finder(MetaPathFinder):
    """Finds the trusted modules of a folder, and nothing else that lies there."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, names

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if path is None and fullname in self.names:
            return spec_from_file_location(fullname, self.folder / f"{fullname}.py")
        return None


def find_modules(folder: Path, names: Sequence[str]) -> None:
    """Let Python find the modules `names` in `folder`, after installed ones; nobody trusts the other files there."""
    known = [(each.folder, each.names) for each in sys.meta_path if isinstance(each, _Finder)]
    if (folder, names) not in known:
        sys.meta_path.append(_Finder(folder, names))


def here() -> Path | None:
    """The current folder; None if it has been deleted."""
    try:
        return Path(os.getcwd())
    except OSError:
        return None


def _read() -> dict[str, list[Any]]:
    path = store()
    if not path.exists():
        return {}
    found = files.parse_json(files.read_bounded(path, LIMIT))
    if not isinstance(found, dict) or not all(isinstance(names, list) for names in found.values()):
        raise ValueError("it does not hold lists of names")
    return found

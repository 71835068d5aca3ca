"""`sweep=NAME` stands for the overrides in configs/sweep/NAME.yaml.

A line `optimizer.lr: 1e-4,1e-3` is the override `optimizer.lr=1e-4,1e-3`. The command line overrides the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genlab.config import safety
from genlab.errors import ConfigError, nearest
from genlab.utils import files

WORD = "sweep="


def expand(arguments: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """`arguments` with the lines of the file in place of `sweep=NAME`. ConfigError if there is no such file."""
    names = [argument.removeprefix(WORD) for argument in arguments if argument.startswith(WORD)]
    plain = [argument for argument in arguments if not argument.startswith(WORD)]
    if not names or names[-1] == "null":
        return plain
    overridden = {argument.split("=", 1)[0].lstrip("+~") for argument in plain}
    lines = _lines(names[-1], folders)
    return [*(f"{key}={values}" for key, values in lines.items() if key not in overridden), *plain]


def _lines(name: str, folders: Sequence[Path]) -> dict[str, str]:
    import yaml

    known = {path.relative_to(folder / "sweep").with_suffix("").as_posix(): path
             for folder in folders for path in (folder / "sweep").rglob("*.yaml")}  # fmt: skip
    if name not in known:
        raise ConfigError(f"unknown sweep '{name[:60]}'", f"override '{WORD}{name[:60]}'", nearest(name, known))
    path = known[name]
    safety.config_file(path)
    found = yaml.safe_load(files.read_bounded(path, safety.MAX_FILE)) or {}
    for key, values in found.items():
        if isinstance(values, list | dict):
            raise ConfigError(f"'{key}' does not list its values", f"file {path}", "write them as text: key: 1,2,3")
    return {str(key): str(values) for key, values in found.items()}

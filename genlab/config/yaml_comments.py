"""The YAML files as documentation: first line, keys, and the comment of each key. No Hydra, no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab.config.yaml_file import parse_config

MODEL_CHOICES = ("optimizer", "schedule", "trainer", "evaluator")  # groups of which a model names an option
KINDS = {  # kind in `genlab list` -> group
    "models": "model",
    "datasets": "dataset",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "trainers": "trainer",
    "evaluators": "evaluator",
    "loggers": "logger",
    "recipes": "recipe",
    "experiments": "experiment",
    "sweeps": "sweep",
    "workloads": "workload",
    "debug": "debug",
}


def first_comment(path: Path) -> str:
    """The description at the top of a configuration file; '' if there is none."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
        if line.strip() and not line.startswith("#"):
            break
    return ""


def options(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Every option of a group with its file, but for bases (`_*.yaml`); the first folder that has one wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / group).rglob("[!_]*.yaml")):
            found.setdefault(path.relative_to(folder / group).with_suffix("").as_posix(), path)
    return dict(sorted(found.items()))


def comments(path: Path, folders: Sequence[Path]) -> dict[str, str]:
    """`{"latent_dim": "numbers in a code z", "network.hidden": ...}`, keys of the files it builds on included."""
    found: dict[str, str] = {}
    for base in _bases(path, folders):
        found |= comments(base, folders)
    stack: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = re.match(r"( *)([\w-]+):(?:\s+(?:[^#'\"]|'[^']*'|\"[^\"]*\")*?)?(?:\s#\s*(.*))?$", line)
        if not match:
            continue
        indent, name, comment = len(match[1]), match[2], match[3]
        stack = [entry for entry in stack if entry[0] < indent] + [(indent, name)]
        if comment:
            found[".".join(part for _, part in stack)] = comment.strip()
    return found


def values(path: Path, folders: Sequence[Path]) -> dict[str, Any]:
    """A file's own keys laid over those of the files it builds on, unresolved; {} for an unreadable file."""
    merged: dict[str, Any] = {}
    for base in _bases(path, folders):
        merged |= values(base, folders)
    return merged | {key: value for key, value in _content(path).items() if key != "defaults"}


def missing(path: Path | None, folders: Sequence[Path]) -> list[str]:
    """The keys of a file that the command line must set: `???`."""
    return [key for key, value in values(path, folders).items() if value == "???"] if path else []


def from_model(group: str, default: str, model: str, folders: Sequence[Path]) -> str:
    """The option of `group` that a model's file, or a file it builds on, names; else `default`."""
    path = next((path for folder in folders if (path := folder / "model" / f"{model}.yaml").is_file()), None)
    return str(values(path, folders).get(group, default)) if path else default


def _bases(path: Path, folders: Sequence[Path]) -> list[Path]:
    """The files of the same group that the defaults list of this one names."""
    names = [entry for entry in _content(path).get("defaults") or [] if isinstance(entry, str) and entry != "_self_"]
    group = [path.parent, *(folder / path.parent.name for folder in folders)]
    found = (next((base for folder in group if (base := folder / f"{name}.yaml").is_file()), path) for name in names)
    return [base for base in found if base != path]


def _content(path: Path) -> dict[str, Any]:
    try:
        return parse_config(path.read_bytes())
    except (ValueError, OSError):
        return {}

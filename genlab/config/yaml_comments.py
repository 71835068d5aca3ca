"""What the YAML files say to people: their first line, and the comment beside each key. No Hydra, no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KINDS = {  # what `genlab list` shows: kind -> group
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
    """Every option of a group with its file; the first folder that has one wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / group).rglob("*.yaml")):
            found.setdefault(path.relative_to(folder / group).with_suffix("").as_posix(), path)
    return dict(sorted(found.items()))


def comments(path: Path) -> dict[str, str]:
    """`{"latent_dim": "numbers in a code z", "network.hidden": ...}`, keys of the files it builds on included."""
    found: dict[str, str] = {}
    for base in _bases(path):
        found |= comments(base)
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


def values(path: Path) -> dict[str, Any]:
    """A file's own keys laid over those of the files it builds on, unresolved; {} for an unreadable file."""
    import yaml

    merged: dict[str, Any] = {}
    for base in _bases(path):
        merged |= values(base)
    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return merged
    return (
        merged | {str(key): value for key, value in own.items() if key != "defaults"}
        if isinstance(own, dict)
        else merged
    )


def _bases(path: Path) -> list[Path]:
    """The files of the same group that the defaults list of this one names."""
    found, inside = [], False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if re.match(r"defaults:", line):
            inside = True
        elif inside and (entry := re.match(r"\s*-\s*([\w-]+)\s*(?:#.*)?$", line)):
            base = path.parent / f"{entry[1]}.yaml"
            if base.is_file() and base != path:
                found.append(base)
        elif inside and not re.match(r"\s*(-|#|$)", line):
            break
    return found

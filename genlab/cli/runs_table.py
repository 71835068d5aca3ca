"""genlab runs: what has been trained, oldest first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from genlab.cli.options import Parser
from genlab.errors import ConfigError
from genlab.utils.paths import user_path
from genlab.utils.tables import show
from genlab.utils.terminal import echo


def parser() -> Parser:
    parse = Parser("runs", "A table of the runs below a folder.", "  genlab runs\n  genlab runs outputs/sweeps\n")
    parse.add_argument("root", nargs="?", default="outputs", metavar="ROOT")
    return parse


def run(options: argparse.Namespace) -> int:
    from genlab.runs import run_folder

    root = Path(options.root)
    if not user_path(root, "genlab runs").is_dir():
        raise ConfigError(f"no folder '{root}'", "genlab runs", "train something first, or name another folder")
    records = run_folder.scan(root)
    if not records:
        echo(f"no runs in {root}")
        return 0
    rows = [[str(record.get("status", "?")), _name(record, "model"), _name(record, "data"), _progress(record),
             best(record), str(record["path"])] for record in records]  # fmt: skip
    show(["status", "model", "data", "step", "best", "folder"], rows)
    return 0


def _name(record: dict[str, Any], part: str) -> str:
    value = record.get(part)
    return str(value.get("name", "?")) if isinstance(value, dict) else "?"


def _progress(record: dict[str, Any]) -> str:
    step, steps = record.get("step"), record.get("steps")
    return f"{step or 0}/{steps}" if steps else str(step or 0)


def best(record: dict[str, Any]) -> str:
    """`valid/elbo 103.2` of a run's record, or a dash."""
    found = record.get("best")
    if not isinstance(found, dict) or not isinstance(found.get("value"), int | float):
        return "-"
    return f"{found.get('metric', '')} {found['value']:.4g}".strip()

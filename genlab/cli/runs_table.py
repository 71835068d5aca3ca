"""genlab runs: what has been trained, oldest first."""

from __future__ import annotations

import argparse
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

    root = user_path(options.root, "genlab runs")
    if not root.is_dir():
        raise ConfigError(f"no folder '{root}'", "genlab runs", "train something first, or name another folder")
    records = run_folder.scan(root)
    if not records:
        echo(f"no runs in {root}")
        return 0
    rows = [[str(record.get("status", "?")), _name(record, "model"), _name(record, "data"), _progress(record),
             best(record), evaluated(record), str(record["path"])] for record in records]  # fmt: skip
    show(["status", "model", "data", "step", "best", "evaluated", "folder"], rows)
    return 0


def _name(record: dict[str, Any], part: str) -> str:
    value = record.get(part)
    return str(value.get("name", "?")) if isinstance(value, dict) else "?"


def _progress(record: dict[str, Any]) -> str:
    step, steps = record.get("step"), record.get("steps")
    return f"{step or 0}/{steps}" if steps else str(step or 0)


def best(record: dict[str, Any]) -> str:
    """`valid/elbo 103.2` of a run's record.

    If no step could be ranked, as of a GAN on data without a classifier: the first of the last numbers, marked so.
    """
    found = record.get("best")
    if found and found["value"] is not None:
        return f"{found['metric']} {found['value']:.4g}"
    metrics = ((name, value) for name, value in record.get("metrics", {}).items() if value is not None and "/" in name)
    return next((f"{name} {value:.4g} (last)" for name, value in metrics), "-")


def evaluated(record: dict[str, Any]) -> str:
    """`test/fid_mnist 9.1 +2`: a number of the newest results of `genlab eval`, and how many more results there are.

    A result with the evaluator's default options comes first.
    """
    results = [each for each in record.get("evaluations", []) if each["metrics"]]
    if not results:
        return "-"
    first = min(results, key=lambda each: (-each["protocol"]["step"], bool(each["protocol"]["options"])))
    name, value = next(iter(first["metrics"].items()))
    title = "/".join(filter(None, (first["protocol"]["split"], name)))
    text = f"{title} {'not finite' if value is None else f'{value:.4g}'}"
    step = first["protocol"]["step"]
    at = "" if step == record.get("step") else f" (step {step})"
    return f"{text}{at}{f' +{len(results) - 1}' if len(results) > 1 else ''}"

"""genlab runs: what has been trained, oldest first."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab.cli.options import Parser
from genlab.errors import ConfigError
from genlab.utils.paths import user_path
from genlab.utils.tables import csv_text, show, show_records
from genlab.utils.terminal import echo

EXAMPLES = """\
  genlab runs
  genlab runs outputs/sweeps status=done
  genlab runs model=dcgan dataset=*mnist sort=best_value
  genlab runs model.latent_dim=2 sort=-valid/elbo --csv > runs.csv
"""
KEYS = """\
  KEY=VALUE  only such runs: model, dataset, status, seed, any key of the configuration; * and ? fit anything
  sort=KEY   by such a key, best_value or a metric; -KEY: the largest first (started)
"""


def parser() -> Parser:
    parse = Parser("runs", "A table of the runs below a folder (outputs).", EXAMPLES, KEYS)
    parse.add_argument("options", nargs="*", metavar="ROOT | KEY=VALUE")
    parse.flags("json", "csv")
    return parse


def run(options: argparse.Namespace) -> int:
    filters = _filters([word for word in options.options if _is_filter(word)])
    roots = [word for word in options.options if not _is_filter(word)]
    sort = filters.pop("sort", "")
    if len(roots) > 1:
        raise ConfigError(f"{len(roots)} folders are named", "genlab runs", "name one, and filters as KEY=VALUE")
    root = user_path(roots[0] if roots else "outputs", "genlab runs")
    if not root.is_dir():
        raise ConfigError(f"no folder '{root}'", "genlab runs", "train something first, or name another folder")
    if options.json or options.csv:
        _print_flat(root, filters, sort, options.json)
    else:
        _show_table(root, filters, sort)
    return 0


def _is_filter(word: str) -> bool:
    """KEY=VALUE, in which a metric's key has a "/" (valid/elbo), as has the path of an existing folder (./a=b)."""
    return "=" in word and not ("/" in word and os.path.isdir(word))


def _filters(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, _, value in (word.partition("=") for word in words):
        if key in found:
            raise ConfigError(f"'{key[:60]}' is given twice", "genlab runs", "give one value or a pattern")
        found[key] = value
    return found


def _print_flat(root: Path, filters: dict[str, str], sort: str, json: bool) -> None:
    from genlab.runs.records import find

    records = [record["flat"] for record in find(root, filters, sort)]
    if json:
        show_records(records, json=True)
    else:
        echo(*csv_text(records).splitlines())


def _show_table(root: Path, filters: dict[str, str], sort: str) -> None:
    if filters or sort:
        from genlab.runs.records import find

        records = find(root, filters, sort)
    else:  # without the configurations, which take longer to read
        from genlab.runs import run_folder

        records = run_folder.scan(root)
    if not records:
        echo(f"no {'such ' if filters else ''}runs in {root}")
        return
    rows = [[str(record.get("status", "?")), _name(record, "model"), _name(record, "data"), _progress(record),
             best(record), evaluated(record), str(record["path"])] for record in records]  # fmt: skip
    show(["status", "model", "data", "step", "best", "evaluated", "folder"], rows)


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

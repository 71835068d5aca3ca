"""Runs as flat records, chosen and sorted by any of their values: for `genlab runs` and for pandas."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from genlab.config.overrides import leaves
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.runs import run_folder
from genlab.utils.formatting import value_text

EVALUATION = "eval"  # begins the keys of results of `genlab eval`: eval/fid/test/fid_mnist
# entries of run.json that a flat record has under their own name
PLAIN = ("status", "seed", "step", "steps", "started", "ended", "seconds", "device", "precision", "config_hash")


def find(root: Path, filters: Mapping[str, str], sort: str = "", where: str = "genlab runs") -> list[dict[str, Any]]:
    """The records of `run_folder.scan` below `root` that fit, each with `flat`, its flat record.

    A filter is a key and a value or pattern (`model: "*vae"`), `sort` a key, with "-" before it for the largest first.
    ConfigError for a key that no run has.
    """
    records = [{**record, "flat": flat(record)} for record in run_folder.scan(root)]
    known = {key for record in records for key in record["flat"]}
    for key in (*filters, *([sort.removeprefix("-")] if sort else [])):
        if records and key not in known:
            raise ConfigError(f"no run has the key '{key[:60]}'", where, nearest(key, known))
    fitting = [record for record in records
               if all(_fits(record["flat"].get(key), wanted) for key, wanted in filters.items())]  # fmt: skip
    return _sorted(fitting, sort) if sort else fitting


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """One value for each key: path, model, dataset, status, ..., the last metrics, the results of `genlab eval` with
    default options at the last step, the best step, and every key of the configuration."""
    found = {"path": record["path"], "model": _name(record, "model"), "dataset": _name(record, "data")}
    found |= {key: record.get(key) for key in PLAIN}
    best = record.get("best") or {}
    found |= {"best_metric": best.get("metric"), "best_value": best.get("value"), "best_step": best.get("step")}
    others = {**(record.get("metrics") or {}), **_evaluations(record)}
    with contextlib.suppress(GenlabError):  # a run that is damaged has a record all the same
        others |= leaves(run_folder.read_config(Path(record["path"])))
    found |= {key: value for key, value in others.items() if key not in found}
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in found.items()}  # fmt: skip


def _name(record: Mapping[str, Any], part: str) -> Any:
    value = record.get(part)
    return value.get("name") if isinstance(value, Mapping) else None


def _evaluations(record: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for result in record.get("evaluations") or ():
        protocol = result["protocol"]
        if protocol["step"] == record.get("step") and not protocol["options"]:
            title = "/".join(filter(None, (EVALUATION, protocol["evaluator"], protocol["split"])))
            found = {f"{title}/{name}": value for name, value in result["metrics"].items()} | found
    return found


def _fits(value: Any, wanted: str) -> bool:
    if fnmatchcase(value_text(value), wanted):
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return value == float(wanted)  # 1 for 1.0
    except ValueError:
        return False


def _sorted(records: Iterable[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Numbers, then texts; records without the value last."""
    key = sort.removeprefix("-")
    have, lack = list[dict[str, Any]](), list[dict[str, Any]]()
    for record in records:
        (lack if record["flat"].get(key) is None else have).append(record)

    def order(record: Mapping[str, Any]) -> tuple[bool, Any]:
        value = record["flat"][key]
        return (False, value) if isinstance(value, int | float) else (True, value_text(value))

    return [*sorted(have, key=order, reverse=sort.startswith("-")), *lack]

"""Stores the numbers of docs/results.md one by one, beside the page, because run folders are too large to keep.

The entry of a run counts only while its overrides equal those of the claims, and a number only if its protocol equals
that of the row. Overrides do not show every change (an experiment's YAML, the code), so entries also have a hash of the
configuration and the day on which the run ended, and `forget` drops it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# former names of overrides in stored runs
RENAMED = {"model.stabilisers.": "model.regularizers."}


def renamed(word: str) -> str:
    """An override with current names."""
    for old, new in RENAMED.items():
        if word.startswith(old):
            return new + word.removeprefix(old)
    return word


class Ledger:
    """`runs`: overrides and numbers of each run, by name. `sweeps`: number of runs of each sweep.

    `summaries`: statistics over several runs whose individual numbers are no longer known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        held = json.loads(path.read_text()) if path.exists() else {}
        self.runs: dict[str, dict[str, Any]] = held.get("runs", {})
        for kept in self.runs.values():
            kept["made"] = [renamed(word) for word in kept.get("made", [])]
        self.sweeps: dict[str, int] = held.get("sweeps", {})
        self.summaries: dict[str, str] = held.get("summaries", {})

    def write(self) -> None:
        held = {"runs": self.runs, "sweeps": self.sweeps, "summaries": self.summaries}
        self.path.write_text(json.dumps(held, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    def forget(self, name: str) -> None:
        """Drop a run, or a sweep with all its runs, and the summaries that include them."""
        self.sweeps.pop(name, None)
        self.runs = {run: kept for run, kept in self.runs.items() if run != name and not run.startswith(f"{name}/")}
        self.summaries = {key: said for key, said in self.summaries.items() if name not in key.split()}

    def expanded(self, names: list[str]) -> list[str]:
        """The names of runs, with each sweep replaced by its jobs."""
        return [run for name in names for run in self._jobs(name)]

    def _jobs(self, name: str) -> list[str]:
        return [f"{name}/{i}" for i in range(self.sweeps[name])] if name in self.sweeps else [name]

    def entry(self, name: str, made: list[str], record: Mapping[str, Any]) -> dict[str, Any]:
        """The entry of the run `name`, for adding numbers; emptied if it belongs to another run of that name."""
        day = datetime.fromtimestamp(record["ended"], UTC).date().isoformat() if "ended" in record else None
        origin = {"made": made, "config": record.get("config_hash"), "day": day}
        kept = self.runs.get(name, {})
        if {key: kept.get(key) for key in origin} != origin:
            kept = self.runs[name] = {**origin, "figures": {}, "curves": {}}
        return kept

    def recall(self, name: str, made: list[str]) -> dict[str, Any]:
        """The entry of a run with these overrides: `figures` by evaluator, `curves` by metric."""
        kept = self.runs.get(name, {})
        return kept if kept.get("made") == made else {"figures": {}, "curves": {}}

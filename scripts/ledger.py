"""The figures that docs/results.md is made of, one by one, beside the page: run folders are large and stay behind.

What is kept of a run counts only while the overrides that made it are those of the claims, and a figure only where its
protocol is what the row asks for. A change that no override shows (an experiment's YAML, the code) calls for a new run:
each entry has the hash of its configuration and the day on which it ended, and `forget` drops it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# what overrides were called when runs that are still kept were made
RENAMED = {"model.stabilisers.": "model.regularizers."}


def renamed(word: str) -> str:
    """An override, by the names of today."""
    for old, new in RENAMED.items():
        if word.startswith(old):
            return new + word.removeprefix(old)
    return word


class Ledger:
    """`runs`: by name, how a run was made and what was measured. `sweeps`: how many runs each has.

    `summaries`: what was said of several runs together, where the figure of each is no longer known.
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
        """Drop a run, or a sweep with all its runs, and what was said of them together with others."""
        self.sweeps.pop(name, None)
        self.runs = {run: kept for run, kept in self.runs.items() if run != name and not run.startswith(f"{name}/")}
        self.summaries = {key: said for key, said in self.summaries.items() if name not in key.split()}

    def expanded(self, names: list[str]) -> list[str]:
        """The names of runs, that of a sweep replaced by those of its jobs."""
        return [run for name in names for run in self._jobs(name)]

    def _jobs(self, name: str) -> list[str]:
        return [f"{name}/{i}" for i in range(self.sweeps[name])] if name in self.sweeps else [name]

    def entry(self, name: str, made: list[str], record: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept of the run `name`, to be added to. Of another run of that name nothing stays."""
        day = datetime.fromtimestamp(record["ended"], UTC).date().isoformat() if "ended" in record else None
        origin = {"made": made, "config": record.get("config_hash"), "day": day}
        kept = self.runs.get(name, {})
        if {key: kept.get(key) for key in origin} != origin:
            kept = self.runs[name] = {**origin, "figures": {}, "curves": {}}
        return kept

    def recall(self, name: str, made: list[str]) -> dict[str, Any]:
        """What is kept of a run that these overrides made: `figures` by evaluator, `curves` by metric."""
        kept = self.runs.get(name, {})
        return kept if kept.get("made") == made else {"figures": {}, "curves": {}}

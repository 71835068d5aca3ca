"""The ledger: the figures of runs, because run folders are too large to keep, each with what produced it.

docs/results.md is made from it. An entry without its configuration, day, commit, seed and machine cannot be stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from genlab.errors import ConfigError, nearest
from genlab.registry import NonNegativeInt
from genlab.utils.files import read_bounded
from genlab.workflows.reproduce.claims import Strict

FILE = Path(__file__).with_name("ledger.json")
LIMIT = 2**24  # bytes
COMMIT = 12  # hex digits that are kept


class Figures(Strict):
    """Numbers of one evaluation, and the entries of its protocol that the claims ask for."""

    metrics: dict[str, float] = Field(default_factory=dict)
    protocol: dict[str, Any] = Field(default_factory=dict)


class Origin(Strict):
    """What produced the figures of a run."""

    overrides: list[str]
    config: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]  # hash of the resolved configuration
    day: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]  # on which training ended
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,40}$")]  # of genlab
    seed: NonNegativeInt
    machine: Annotated[str, StringConstraints(min_length=1)]

    @classmethod
    def of(cls, overrides: list[str], record: Mapping[str, Any]) -> Origin:
        """The origin of a finished run. ValueError says what its record lacks."""
        git = record.get("git") or {}
        if not git.get("commit"):
            raise ValueError("genlab is not in a git checkout, so the code has no version")
        if git.get("dirty"):
            raise ValueError("the code had uncommitted changes")
        return cls(
            overrides=overrides,
            config=record["config_hash"],
            day=datetime.fromtimestamp(record["ended"], UTC).date().isoformat(),
            commit=git["commit"][:COMMIT],
            seed=record["seed"],
            machine=record["machine"],
        )


class Entry(Origin):
    """A run: `figures` by result (fid-test), learning `curves` by metric."""

    figures: dict[str, Figures] = Field(default_factory=dict)
    curves: dict[str, str] = Field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        return Origin(**{name: getattr(self, name) for name in Origin.model_fields})


class Ledger(BaseModel):
    """`runs`: entries by the name of the run folder."""

    model_config = ConfigDict(extra="forbid")

    runs: dict[str, Entry] = {}

    @classmethod
    def read(cls, path: Path = FILE) -> Ledger:
        """The stored ledger; an empty one if there is none. ConfigError if it is damaged."""
        try:
            return cls.model_validate_json(read_bounded(path, LIMIT)) if path.exists() else cls()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).splitlines()[:3])[:200]
            raise ConfigError(f"the ledger cannot be used ({reason})", f"file {path}", "restore it") from None

    def dumped(self) -> bytes:
        """What `read` takes."""
        return (json.dumps(self.model_dump(), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def forget(self, name: str) -> None:
        """Drop a run, or all runs of a sweep. ConfigError if there is none."""
        kept = {run: each for run, each in self.runs.items() if run != name and not run.startswith(f"{name}/")}
        if len(kept) == len(self.runs):
            raise ConfigError(f"the ledger has no run '{name[:60]}'", "flag --forget", nearest(name, self.runs))
        self.runs = kept

    def entry(self, name: str, origin: Origin) -> Entry:
        """The entry of the run `name`, to be completed; a new one if the stored one has another origin."""
        if name not in self.runs or self.runs[name].origin != origin:
            self.runs[name] = Entry(**origin.model_dump())
        return self.runs[name]

    def recall(self, name: str, overrides: list[str]) -> Entry | None:
        """The entry of the run `name`, if it was made with these overrides."""
        kept = self.runs.get(name)
        return kept if kept and kept.overrides == overrides else None

"""The ledger of results: no figure without what produced it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from genlab.errors import ConfigError
from genlab.workflows.reproduce.claims import load
from genlab.workflows.reproduce.ledger import FILE, Entry, Figures, Ledger, Origin
from genlab.workflows.reproduce.tables import page

ROOT = Path(__file__).resolve().parents[3]
RECORD: dict[str, Any] = {
    "config_hash": "0123456789abcdef", "ended": 9e8, "seed": 3, "machine": "a processor, 2 cores",
    "git": {"commit": "f" * 40, "dirty": False},
}  # fmt: skip


def test_every_stored_figure_has_its_origin() -> None:
    entries = Ledger.read().runs
    assert entries
    for name, entry in entries.items():
        assert all(getattr(entry, field) not in (None, "", []) for field in Origin.model_fields), name
        assert entry.figures or entry.curves, name


def test_every_stored_run_is_claimed_as_it_was_made() -> None:
    runs = {name: run for part in load().values() for name, run in part.runs.items()}
    for name, entry in Ledger.read().runs.items():
        run = runs[name.split("/")[0]]
        assert name in run.names(name.split("/")[0])
        assert entry.overrides == run.overrides, name


def test_the_page_is_made_from_the_ledger() -> None:
    assert (ROOT / "docs" / "results.md").read_text() == page(load(), Ledger.read()), "genlab reproduce --page"


def test_the_figures_of_the_readme_are_rows_of_the_page() -> None:
    rows = set((ROOT / "docs" / "results.md").read_text().splitlines())
    _, _, measured = (ROOT / "README.md").read_text().partition("## Measured\n")
    table = [line for line in measured.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    assert len(table) > 5
    assert [line for line in table if line not in rows] == []


@pytest.mark.parametrize("field", Origin.model_fields)
def test_an_entry_without_its_origin_cannot_be_stored(field: str) -> None:
    whole = Origin.of(["model=vae"], RECORD).model_dump()
    Entry(**whole)
    with pytest.raises(ValidationError, match=field):
        Entry(**{key: value for key, value in whole.items() if key != field})
    with pytest.raises(ValidationError, match=field):
        Entry(**{**whole, field: None})


def test_the_origin_is_that_of_the_record() -> None:
    origin = Origin.of(["model=vae"], RECORD)
    assert (origin.day, origin.commit, origin.seed) == ("1998-07-09", "f" * 12, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"git": None}, "not in a git checkout"), ({"git": {"commit": "f" * 40, "dirty": True}}, "uncommitted")],
)
def test_code_without_a_version_makes_no_result(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Origin.of(["model=vae"], RECORD | change)


def test_a_changed_origin_empties_an_entry_and_changed_overrides_hide_it(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.entry("a", Origin.of(["model=vae"], RECORD)).figures["nll-test"] = Figures(metrics={"nll": 1})
    assert ledger.entry("a", Origin.of(["model=vae"], RECORD)).figures
    assert ledger.recall("a", ["model=vae"])
    assert ledger.recall("a", ["model=gan"]) is None
    (tmp_path / "ledger.json").write_bytes(ledger.dumped())
    assert Ledger.read(tmp_path / "ledger.json") == ledger
    assert not ledger.entry("a", Origin.of(["model=vae"], RECORD | {"seed": 4})).figures


def test_a_run_or_a_sweep_is_forgotten() -> None:
    origin = Origin.of(["model=vae"], RECORD)
    ledger = Ledger(runs={name: Entry(**origin.model_dump()) for name in ("a", "b/0", "b/1", "ab")})
    ledger.forget("a")
    ledger.forget("b")
    assert list(ledger.runs) == ["ab"]
    with pytest.raises(ConfigError, match="no run 'b'"):
        ledger.forget("b")


def test_the_ledger_comes_with_the_package() -> None:
    assert FILE.is_file()
    assert FILE.is_relative_to(ROOT / "genlab")

"""The notebooks in notebooks/: stored without outputs, and each of them runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
each_lesson = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def text(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(path, "markdown"))


@each_lesson
def test_no_outputs_are_stored(path: Path) -> None:
    for cell in cells(path, "code"):
        assert (cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {}), cell["id"]


@each_lesson
def test_a_lesson_says_what_it_shows_and_ends_with_exercises(path: Path) -> None:
    first, *_, last = cells(path, "markdown")
    assert "".join(first["source"]).startswith(f"# {int(path.stem[:2])}. ")
    for part in ("**What you will see.**", "**What you need to know.**", "**Time.**", "**Data.**"):
        assert part in "".join(first["source"])
    assert "## Exercises" in "".join(last["source"])
    for name in re.findall(r"\]\(([^):]+)\)", text(path)):  # of other lessons
        assert (path.parent / name).is_file()


@each_lesson
def test_a_lesson_runs_in_short(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLAB_LESSON_STEPS", "4")
    execute(path, tmp_path, monkeypatch)


@pytest.mark.acceptance
@each_lesson
def test_a_lesson_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(path, tmp_path, monkeypatch)


def execute(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run all cells in `folder`, in a process of their own; an error in one of them fails the test."""
    for name in ("nbclient", "nbformat", "ipykernel", "matplotlib"):
        pytest.importorskip(name, reason=f"the extra `test` installs {name}, which runs notebooks")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}  # the folder in which it runs
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources).execute()

"""scripts/model_collapse.py: its page goes where it is told, not over that of docs/."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "model_collapse.py"
KEYS = [f"{key}_mnist{ending}" for key in ("precision", "recall", "density", "coverage") for ending in ("", "_real")]
METRICS = {"prdc": dict.fromkeys(KEYS, 0.5), "fid": {"fid_mnist": 12.345}}


def test_the_page_goes_into_the_output_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = SCRIPT.parents[1] / "docs" / "model-collapse.md"
    before = docs.read_text()
    for run in ("collapse_g0", "collapse_g1_s0"):
        for name, metrics in METRICS.items():
            file = Path("runs") / run / "eval" / f"{name}-test-00000100.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"metrics": metrics}))
    words = ["--page", "--runs", "runs", "--out", "mine", "--shares", "0", "--generations", "1"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "| 0 | 1 | 0.500 | 0.500 | 0.500 | 0.500 | 12.35 |" in Path("mine/model-collapse.md").read_text()
    assert Path("mine/images/model-collapse.svg").is_file()
    assert docs.read_text() == before

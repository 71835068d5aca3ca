"""scripts/quality_by_calls.py: the curves of several runs in one figure, seeds of a model averaged."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "quality_by_calls.py"


def run_of(name: str, model: str, results: dict[int, dict[str, float]]) -> str:
    """A run folder with a result of `nfe` at each step."""
    folder = Path("outputs") / name
    (folder / "eval").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"status": "done", "model": {"name": model}}))
    for step, metrics in results.items():
        protocol: dict[str, Any] = {"evaluator": "nfe", "options": {}, "split": "test", "seed": 0, "step": step}
        result = {"metrics": metrics, "protocol": protocol, "diagnoses": []}
        (folder / "eval" / f"nfe-test-{step:08d}.json").write_text(json.dumps(result))
    return str(folder)


def test_runs_of_one_model_are_averaged_and_old_results_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {"fid_x/solver_euler/calls_4": 10.0, "seconds_per_image/solver_euler/calls_4": 0.5, "fid_x_floor": 1.0}
    runs = [
        run_of("a", "flow_matching", {5: {"fid_x/solver_euler/calls_4": 99.0}, 9: first}),
        run_of("b", "flow_matching", {9: {**first, "fid_x/solver_euler/calls_4": 14.0}}),
        run_of("c", "ddpm", {9: {"fid_x/calls_4": 30.0, "fid_x/calls_4_seed_sd": 2.0}}),
    ]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *runs, "--out", "figure.png"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    said = capsys.readouterr().out.splitlines()
    assert "| flow_matching solver=euler | 4 | 12.00 ± 2.83 | 0.5 |" in said
    assert "| ddpm | 4 | 30.00 ± 2.00 | nan |" in said
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_runs_without_results_are_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), run_of("a", "vae", {})])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "genlab eval RUN evaluator=nfe" in capsys.readouterr().err

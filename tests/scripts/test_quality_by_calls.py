"""scripts/quality_by_calls.py: the curves of several runs in one figure, seeds of a configuration averaged."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.written_runs import write_result, write_run

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "quality_by_calls.py"


def run_of(name: str, model: str, seed: int = 0, **keys: Any) -> Path:
    config = {"name": model, "model": {"name": model, **keys}}
    return write_run(Path("outputs") / name, seed, config=config)


def figure(monkeypatch: pytest.MonkeyPatch, *runs: Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, runs), "--out", "figure.png"])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def nfe(run: Path, metrics: dict[str, float | None], file: str = "", **protocol: Any) -> None:
    write_result(run, metrics, file, evaluator="nfe", **protocol)


def test_seeds_of_one_configuration_are_averaged_and_old_results_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {"fid_x/solver_euler/calls_4": 10.0, "seconds_per_image/solver_euler/calls_4": 0.5, "fid_x_floor": 1.0}
    a, b = run_of("a", "flow_matching"), run_of("b", "flow_matching", seed=1)
    other = run_of("c", "ddpm")
    nfe(a, {"fid_x/solver_euler/calls_4": 99.0}, step=5)
    nfe(a, first)
    nfe(b, {**first, "fid_x/solver_euler/calls_4": 14.0})
    nfe(other, {"fid_x/calls_4": 30.0, "fid_x/calls_4_seed_sd": 2.0})
    with pytest.raises(SystemExit, match="0"):
        figure(monkeypatch, a, b, other)
    said = capsys.readouterr().out.splitlines()
    assert "| flow_matching solver=euler | 4 | 12.00 ± 2.83 | 0.5 |" in said
    assert "| ddpm | 4 | 30.00 ± 2.00 | nan |" in said
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_other_configurations_and_protocols_are_curves_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, transport = run_of("a", "flow_matching", ot_group=1), run_of("b", "flow_matching", ot_group=64)
    nfe(plain, {"fid_x/calls_4": 10.0})
    nfe(plain, {"fid_x/calls_4": 11.0, "fid_x/calls_4_seed_sd": 0.5}, "again.json", repeats=3)  # the same, more exactly
    nfe(transport, {"fid_x/calls_4": 6.0}, "few.json", images=500)
    nfe(transport, {"fid_x/calls_4": 5.0}, "many.json", images=5000)
    with pytest.raises(SystemExit, match="0"):
        figure(monkeypatch, plain, transport)
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("| model.ot_group")] == [
        "| model.ot_group=1 | 4 | 11.00 ± 0.50 | nan |",
        "| model.ot_group=64 (images=500) | 4 | 6.00 | nan |",
        "| model.ot_group=64 (images=5000) | 4 | 5.00 | nan |",
    ]


def test_runs_without_results_are_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        figure(monkeypatch, run_of("a", "vae"))
    assert "genlab eval RUN evaluator=nfe" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        figure(monkeypatch, Path("nowhere"))
    assert "nowhere" in capsys.readouterr().err

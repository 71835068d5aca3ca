"""docs/results.md: every figure comes from a run folder, every command that is claimed can be composed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from genlab.config import compose
from genlab.registry import EVALUATORS, discover
from genlab.sweep.plan import plan

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = sorted((ROOT / "scripts" / "claims").glob("*.yaml"))
CLAIM = """
title: A part
runs: {a: [model=vae], b: [model=vae, seed=1], c: [model=vae, seed=2]}
evals: {a: [[evaluator=objective]]}
rows:
  - {what: one, runs: [a], evaluator: objective-test, metric: loss, protocol: {count: 9}, published: 7.5 (somebody)}
  - {what: several, runs: [a, b, c], evaluator: objective-test, metric: loss, digits: 1}
  - {what: none, runs: [c], evaluator: objective-test, metric: loss}
curves: [{runs: [a, b], metric: elbo, points: 2}]
notes: Falls short.
"""


def page(tmp_path: Path, metrics: dict[str, dict[str, float]], count: int = 9) -> subprocess.CompletedProcess[str]:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "part.yaml").write_text(CLAIM)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    logged = [{"step": 1000 * n, "split": split, "elbo": -n} for n in range(1, 5) for split in ("train", "valid")]
    (tmp_path / "runs" / "a" / "metrics.jsonl").write_text("\n".join(map(json.dumps, logged)))
    for name, values in metrics.items():
        folder = tmp_path / "runs" / name / "eval"
        folder.mkdir(parents=True)
        (folder / "objective-test.json").write_text(json.dumps({"metrics": values, "protocol": {"count": count}}))
    return write(tmp_path)


def lines(folder: Path, *words: str) -> list[str]:
    """Those of the page, written anew."""
    assert write(folder, *words).returncode == 0
    return (folder / "results.md").read_text().splitlines()


def write(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["--from", "claims", "--runs", "runs", "--out", "results.md", *more]
    command = [sys.executable, str(ROOT / "scripts" / "results.py"), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_figures_are_those_of_the_runs(tmp_path: Path) -> None:
    assert page(tmp_path, {"a": {"loss": 8.126}, "b": {"loss": 10.126}}).returncode == 0
    found = lines(tmp_path)
    assert "| one | 8.13 | 7.5 (somebody) |" in found
    assert "| several | 9.1 ± 1.4 (2 runs, 1 missing) | - |" in found
    assert "| none | not measured yet | - |" in found
    assert "| `a` | -2.00 (2,000), -4.00 (4,000) |" in found
    assert "| `b` | not measured yet |" in found
    assert "Falls short." in found
    assert "genlab train model=vae seed=1  # b" in found


def test_a_figure_stays_when_its_run_is_gone_but_not_when_its_command_has_changed(tmp_path: Path) -> None:
    assert page(tmp_path, {"a": {"loss": 8.126}, "b": {"loss": 10.126}, "c": {"loss": 6.0}}).returncode == 0
    first = (tmp_path / "results.md").read_text()
    for name in ("a", "b"):
        shutil.rmtree(tmp_path / "runs" / name)
    assert write(tmp_path).returncode == 0
    assert (tmp_path / "results.md").read_text() == first
    claims = tmp_path / "claims" / "part.yaml"
    claims.write_text(CLAIM.replace("seed=1", "seed=11"))  # another run b
    assert "| several | 7.1 ± 1.5 (2 runs, 1 missing) | - |" in lines(tmp_path)
    claims.write_text(CLAIM.replace("count: 9", "count: 10"))  # another protocol of the first row
    assert "| one | not measured yet | 7.5 (somebody) |" in lines(tmp_path)
    claims.write_text(CLAIM)
    assert "| several | 7.1 ± 1.5 (2 runs, 1 missing) | - |" in lines(tmp_path, "--forget", "b", "unknown")
    assert "| one | 8.13 | 7.5 (somebody) |" in lines(tmp_path)


def test_another_run_of_a_name_takes_the_place_of_the_first(tmp_path: Path) -> None:
    assert page(tmp_path, {"a": {"loss": 8.0}, "b": {"loss": 10.0}}).returncode == 0
    shutil.rmtree(tmp_path / "runs")
    folder = tmp_path / "runs" / "a" / "eval"
    folder.mkdir(parents=True)
    (folder / "objective-test.json").write_text(json.dumps({"metrics": {"loss": 1.0}, "protocol": {"count": 9}}))
    (folder.parent / "run.json").write_text(json.dumps({"status": "done", "config_hash": "f00", "ended": 9e8}))
    found = lines(tmp_path)
    assert "| several | 5.5 ± 6.4 (2 runs, 1 missing) | - |" in found
    assert "| `a` | not measured yet |" in found  # its curve was the first run's
    kept = json.loads((tmp_path / "results.json").read_text())["runs"]["a"]
    assert (kept["config"], kept["day"]) == ("f00", "1998-07-09")


def test_a_sweep_stands_for_its_runs_and_training_for_their_last_metrics(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "part.yaml").write_text(
        "title: A part\nsweeps: {many: [model=vae, 'seed=0,1,2']}\n"
        "rows: [{what: all, runs: [many], evaluator: training, metric: valid/loss, digits: 1}]\n"
    )
    for index, (value, status) in enumerate([(1.0, "done"), (2.0, "done"), (9.0, "running")]):
        (tmp_path / "runs" / "many" / str(index)).mkdir(parents=True)
        record = {"status": status, "metrics": {"valid/loss": value}}
        (tmp_path / "runs" / "many" / str(index) / "run.json").write_text(json.dumps(record))
    (tmp_path / "runs" / "many" / "sweep.json").write_text(json.dumps({"jobs": [{"status": "done"}] * 3}))
    found = lines(tmp_path)
    assert "| all | 1.5 ± 0.7 (2 runs, 1 missing) | - |" in found
    assert "genlab train -m model=vae seed=0,1,2  # many" in found


def test_a_metric_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    failed = page(tmp_path, {"a": {"elbo": 1.0}})
    assert failed.returncode == 1
    assert "has no metric 'loss', only elbo" in failed.stderr


def test_a_figure_made_otherwise_than_claimed_is_an_error(tmp_path: Path) -> None:
    failed = page(tmp_path, {"a": {"loss": 1.0}}, count=3)
    assert failed.returncode == 1
    assert "was made with count 3, the claim is of 9" in failed.stderr


def test_an_experiment_that_cites_the_page_is_claimed_there() -> None:
    parts = [yaml.safe_load(path.read_text()) for path in CLAIMS]
    listed = [words for part in parts for key in ("runs", "sweeps") for words in part.get(key, {}).values()]
    claimed = {word for words in listed for word in words}
    for path in (ROOT / "configs" / "experiment").glob("*.yaml"):
        if "docs/results.md" in path.read_text():
            assert f"experiment={path.stem}" in claimed


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_what_is_claimed_can_be_run(path: Path) -> None:
    discover()
    claims = yaml.safe_load(path.read_text())
    for name, overrides in claims.get("runs", {}).items():
        compose.precheck(compose.compose(overrides).config)
        for options in claims.get("evals", {}).get(name, []):
            keys = dict(option.split("=", 1) for option in options)
            evaluator = keys.pop("evaluator", "objective")
            own = {key.removeprefix(f"evaluator.{evaluator}."): yaml.safe_load(value) for key, value in keys.items()}
            EVALUATORS.check({"name": evaluator, **{key: own[key] for key in own.keys() - {"name", "split"}}})
    for overrides in claims.get("sweeps", {}).values():
        for job in plan([*overrides, "hydra.sweep.dir=unused"], []).jobs:
            compose.precheck(job.composed.config)
    for row in claims["rows"]:
        assert set(row["runs"]) <= {*claims.get("runs", {}), *claims.get("sweeps", {})}
    for picture in claims.get("pictures", []):
        assert (ROOT / picture).exists()

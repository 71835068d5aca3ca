"""genlab bench: one JSON line from a real run, and one line for everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab.cli import main
from genlab.config import compose
from genlab.distributed import launcher
from genlab.errors import DivergedError
from genlab.registry import discover
from genlab.runs import run_folder
from genlab.workflows import train
from genlab.workflows.benchmark import overhead
from genlab.workflows.stopwatch import Stopwatch

Refused = Callable[..., str]
KEYS = ["peer", "workload", "params", "batch", "steps", "images_per_s", "images_per_cpu_s", "first_step_s", "peak_rss",
        "threads", "torch", "device", "precision", "compile", "layout", "data_source", "overhead"]  # fmt: skip
SMALL = ["dataset=digits", "recipe=null", "evaluator=samples", "batch=16", "threads=1"]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    discover()
    assert main.main(["bench", *arguments]) == 0
    [line] = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_one_line_with_every_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = bench(capsys, "vae_mlp_mnist", *SMALL, "steps=6", "warmup=2", "precision=bf16", "trainer.log_every=2")
    assert list(said) == KEYS
    assert (said["peer"], said["workload"], said["batch"], said["steps"]) == ("genlab", "vae_mlp_mnist", 16, 6)
    assert said["params"] == (64 * 400 + 400) + (400 * 40 + 40) + (20 * 400 + 400) + (400 * 64 + 64)
    assert (said["precision"], said["threads"], said["data_source"]) == ("bf16", 1, "digits 1x8x8")
    assert said["images_per_s"] > 0
    assert said["first_step_s"] > 0
    assert said["peak_rss"] > 50e6
    assert said["overhead"] is None or 0 <= said["overhead"] < 1
    assert list(tmp_path.iterdir()) == []


def test_overhead_is_what_the_steps_did_not_take() -> None:
    spent = {"training": 9.0, "images": 0.25, "logging": 0.25, "checkpoints": 0.5, "writing": 3.0}
    assert overhead(spent) == pytest.approx(0.1)
    assert overhead({}) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vae_mlp_mnst"], "did you mean 'vae_mlp_mnist'?"),
        (["vae_mlp_mnist", "bacth=3"], "did you mean 'batch'?"),
        (["vae_mlp_mnist", "trainer.bach_size=3"], "did you mean 'trainer.batch_size'?"),
        (["vae_mlp_mnist", "steps=0"], "steps"),
        (["vae_mlp_mnist", "warmup=few"], "warmup"),
        (["vae_mlp_mnist", "precision=fp8"], "precision"),
        (["vae_mlp_mnist", "dry_run=true"], "not for a benchmark"),
        (["vae_mlp_mnist", "hydra.run.dir=x"], "not for a benchmark"),
        (["vae_mlp_mnist", *SMALL, "trainer.devices=2"], "a benchmark is of one process"),
        (["batch=3"], "genlab list workloads"),
        ([], "WORKLOAD"),
        (["vae_mlp_mnist", *SMALL, "trainer.steps=20"], "the run ends at step 20"),
        (["vae_mlp_mnist", *SMALL, "trainer.steps=null", "trainer.epochs=0.1"], "the run ends at step"),
    ],
)
def test_refusals(refused: Refused, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    if "trainer.epochs=0.1" in arguments:  # known only once the data are there: the run has said things by then
        assert main.main(["bench", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err.splitlines()[-1]
    else:
        assert said in refused("bench", *arguments)


def test_ranks_of_torchrun_are_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in launcher.environment(0, 2, 29500).items():
        monkeypatch.setenv(name, value)
    assert "a benchmark is of one process" in refused("bench", "vae_mlp_mnist", *SMALL)


@pytest.mark.parametrize(("error", "code"), [(DivergedError("loss is nan"), 6), (ZeroDivisionError("boom"), 1)])
def test_an_error_names_no_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    """It comes after the first checkpoint, so a run of `genlab train` would say how to resume."""

    class Failing(Stopwatch):
        def __call__(self, step: int) -> bool:
            if step == 8:
                raise error
            return False

    discover()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr("genlab.workflows.benchmark.Stopwatch", Failing)
    every = ["checkpoint.every=2", "steps=10", "warmup=2"]
    assert main.main(["bench", "vae_mlp_mnist", *SMALL, *every]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert "resume" not in last
    logs = list(scratch.glob("genlab-bench-*/run/error.log"))
    assert len(logs) == (code == 1)
    assert len(list(scratch.glob("genlab-bench-*"))) == len(logs)
    assert all(str(log) in last for log in logs)


def test_a_watched_run_stops_saved_and_goes_on() -> None:
    composed = compose.compose(["dataset=digits", "trainer.steps=8", "evaluator=none", "hydra.run.dir=run"])
    result = train.run(composed, watch=lambda step: step == 5)
    assert result.run_dir is not None
    assert (run_folder.read_record(result.run_dir)["status"], run_folder.read_record(result.run_dir)["step"]) == (
        "stopped",
        5,
    )
    train.run(composed)
    assert (run_folder.read_record(result.run_dir)["status"], run_folder.read_record(result.run_dir)["step"]) == (
        "done",
        8,
    )

"""Ctrl-C, SIGTERM and a second process: the run is saved, says so, and goes on to the same end."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genlab.checkpoint.manager import Checkpoints
from genlab.utils.signals import Interrupted, StopRequest
from genlab.workflows.build import load_registry
from tests.support.processes import wait
from tests.support.tiny_runs import COMMON, FAMILIES, fingerprint, train

RUN = [*COMMON, *FAMILIES["vae"], "trainer.steps=150", "checkpoint.every=1000", "trainer.log_every=5",
       "evaluator.objective.every=50"]  # fmt: skip


@pytest.fixture(autouse=True)
def registry() -> None:
    load_registry()


def start_and_wait_for_steps(folder: Path, steps: int, *overrides: str) -> int:
    """Start a run in a child; return when its log holds `steps`."""
    pid = train([*RUN, *overrides, f"hydra.run.dir={folder}"])
    log = folder / "metrics.jsonl"
    end = time.monotonic() + 60
    while not (log.exists() and f'"step": {steps},' in log.read_text()):
        assert time.monotonic() < end, "the run does not get under way"
        time.sleep(0.005)
    return pid


def record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_training_stops_there_and_then(signum: int) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted) as caught, StopRequest():
        signal.raise_signal(signum)
    assert caught.value.signum == signum
    assert signal.getsignal(signum) is before


def test_a_signal_that_a_library_swallows_stops_the_run_before_its_first_step() -> None:
    """Python drops an exception that is raised in a finalizer, as do some modules while they are imported."""
    with StopRequest() as stop:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted) as caught:
            stop.arm()
    assert caught.value.signum == signal.SIGTERM
    with StopRequest() as later:
        later.arm()  # the next run of this process is asked for nothing


def test_a_signal_that_is_swallowed_before_the_run_takes_over_stops_it_too(tmp_path: Path) -> None:
    code = """
import contextlib, signal, sys
from genlab.cli import main
from genlab.config import compose
composed = compose.compose
def swallowing(*arguments):
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)
    return composed(*arguments)
compose.compose = swallowing
sys.exit(main.main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *RUN], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stderr.count("genlab: stopped")) == (143, 1), done.stderr


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0])
def test_sigterm_while_starting_up_is_answered(delay: float, tmp_path: Path) -> None:
    pid = subprocess.Popen(
        [sys.executable, "-m", "genlab", "train", *RUN, f"hydra.run.dir={tmp_path / 'run'}"],
        stderr=(tmp_path / "stderr").open("w"),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    ).pid
    time.sleep(0.2 + delay)  # the interpreter itself needs a moment before it can answer
    os.kill(pid, signal.SIGTERM)
    assert wait(pid, 30) == 143
    assert (tmp_path / "stderr").read_text().startswith("genlab: stopped")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("streams", ["", "2>&1"])
def test_a_reader_that_leaves_early_does_not_fail_the_run(tmp_path: Path, streams: str) -> None:
    shown = [override for override in RUN if override != "logger.console=null"]
    arguments = shlex.join([*shown, "trainer.steps=20", f"hydra.run.dir={tmp_path / 'run'}"])
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        f"{sys.executable} -m genlab train {arguments} {streams} | head -n 1",
        shell=True,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert (record(tmp_path / "run")["status"], record(tmp_path / "run")["code"]) == ("done", 0)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_is_saved_and_goes_on_to_the_same_end(signum: int, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert wait(train([*RUN, f"hydra.run.dir={whole}"]), 120) == 0
    pid = start_and_wait_for_steps(run, 20)
    os.kill(pid, signum)
    assert wait(pid, 20) == 128 + signum
    stopped = record(run)
    assert (stopped["status"], stopped["code"]) == ("stopped", 128 + signum)
    assert "genlab resume" in str(stopped["error"])
    assert 20 <= int(str(stopped["step"])) < 150
    assert Checkpoints(run / "ckpt").steps() == [stopped["step"]]
    assert wait(train([*RUN, f"hydra.run.dir={run}"]), 120) == 0
    assert fingerprint(run) == fingerprint(whole)


def test_a_second_ctrl_c_stops_at_once_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    run = tmp_path / "run"
    pid = start_and_wait_for_steps(run, 20, "checkpoint.every=7")
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGINT)
    assert wait(pid, 20) in (130, -signal.SIGINT)
    found = Checkpoints(run / "ckpt").newest()
    assert found is None or found.step % 7 == 0 or record(run)["step"] == found.step
    assert wait(train([*RUN, "checkpoint.every=7", f"hydra.run.dir={run}"]), 120) == 0


def test_a_second_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    run, longer = tmp_path / "run", "trainer.steps=800"  # so that it still runs when the second comes
    pid = start_and_wait_for_steps(run, 20, longer)
    assert wait(train([*RUN, longer, f"hydra.run.dir={run}"]), 60) == 7
    assert wait(pid, 120) == 0
    fingerprint(run)


def test_a_finished_run_says_so(tmp_path: Path) -> None:
    run = [*RUN, "trainer.steps=4", f"hydra.run.dir={tmp_path / 'run'}"]
    assert wait(train(run), 60) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert wait(train(run), 60) == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after[path]} <= {"lock"}

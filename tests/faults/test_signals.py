"""Ctrl-C, SIGTERM and a second process: the run is saved, says so, and goes on to the same end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from genlab.checkpoint.manager import Checkpoints
from genlab.engine.trainer import Trainer
from genlab.utils.exit_codes import ExitCode
from genlab.utils.signals import Interrupted, StopRequest
from genlab.workflows.build import load_registry
from tests.support.processes import wait
from tests.support.tiny_runs import COMMON, FAMILIES, fingerprint, train

RUN = [*COMMON, *FAMILIES["vae"], "trainer.steps=150", "checkpoint.every=1000", "trainer.log_every=5",
       "evaluator.objective.every=50"]  # fmt: skip


@pytest.fixture(autouse=True)
def registry() -> None:
    load_registry()


def at_step(step: int, action: Callable[[], object]) -> Callable[[], None]:
    """For a forked run: call `action` in it just before it makes this step."""

    def before() -> None:
        train_step = Trainer.train_step

        def watched(self: Trainer) -> dict[str, Tensor]:
            if self.step == step:
                action()
            return train_step(self)

        Trainer.train_step = watched  # type: ignore[method-assign]

    return before


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


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_command_ends_changes_nothing(signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(io.StringIO):
        def flush(self) -> None:
            signal.raise_signal(signum)

    before = signal.getsignal(signum)
    monkeypatch.setattr(sys, "stdout", Interrupting())
    with ExitCode() as ending:
        ending.code = 8
    assert ending.code == 8
    assert signal.getsignal(signum) is before


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
    done = subprocess.run([sys.executable, "-c", code, "train", *RUN], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("genlab: stopped")) == (143, 1), done.stderr


STARTING = """
import runpy, signal, sys
class AtImport:
    def find_spec(self, name, path, target=None):
        if name == module:
            sys.meta_path.remove(self)
            signal.raise_signal(signum)
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a shell
module, signum = sys.argv.pop(1), int(sys.argv.pop(1))
sys.meta_path.insert(0, AtImport())
runpy.run_module("genlab", run_name="__main__")
"""


def interrupted_at(module: str, signum: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal when it imports this module."""
    return subprocess.run(
        [sys.executable, "-c", STARTING, module, str(int(signum)), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def test_ctrl_c_before_genlab_can_answer_ends_without_a_traceback() -> None:
    done = interrupted_at("genlab.utils.exit_codes", signal.SIGINT, "list")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("module", ["hydra", "numpy", "torch.nn.functional", "genlab.engine.trainer"])
def test_sigterm_while_starting_up_is_answered(module: str, tmp_path: Path) -> None:
    """At the import of a module, in the order in which a start imports them."""
    done = interrupted_at(module, signal.SIGTERM, "train", *RUN, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 143, done.stderr
    assert done.stderr.startswith("genlab: stopped")
    assert done.stderr.count("\n") == 1
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
    assert wait(train([*RUN, f"hydra.run.dir={whole}"])) == 0
    asked = at_step(20, lambda: signal.raise_signal(signum))
    assert wait(train([*RUN, f"hydra.run.dir={run}"], asked)) == 128 + signum
    stopped = record(run)
    assert (stopped["status"], stopped["code"], stopped["step"]) == ("stopped", 128 + signum, 21)
    assert "genlab resume" in str(stopped["error"])
    assert Checkpoints(run / "ckpt").steps() == [21]
    assert wait(train([*RUN, f"hydra.run.dir={run}"])) == 0
    assert fingerprint(run) == fingerprint(whole)


def test_a_second_ctrl_c_stops_at_once_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    words = [*RUN, "checkpoint.every=7", f"hydra.run.dir={tmp_path / 'run'}"]
    asked = at_step(20, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    assert wait(train(words, asked)) == -signal.SIGINT
    found = Checkpoints(tmp_path / "run" / "ckpt").newest()
    assert found is None or found.step in (7, 14)
    assert wait(train(words)) == 0


def test_a_second_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    (ready, says_ready), (may_go, says_go) = os.pipe(), os.pipe()
    words = [*RUN, f"hydra.run.dir={tmp_path / 'run'}"]
    first = train(words, at_step(20, lambda: (os.write(says_ready, b"x"), os.read(may_go, 1))))
    assert os.read(ready, 1)
    assert wait(train(words)) == 7
    os.write(says_go, b"x")
    assert wait(first) == 0
    fingerprint(tmp_path / "run")


def test_a_finished_run_says_so(tmp_path: Path) -> None:
    run = [*RUN, "trainer.steps=4", f"hydra.run.dir={tmp_path / 'run'}"]
    assert wait(train(run)) == 0
    (tmp_path / "run" / ".tmp-report.html.1").touch()  # of a process that was killed while it wrote
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert wait(train(run)) == 0
    assert not list((tmp_path / "run").glob(".tmp-*"))
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after.get(path)} <= {"lock", ".tmp-report.html.1"}

"""Sweeps: no job can end the others, one sweep a folder, stopping, going on."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import genlab
from genlab.cli import main
from genlab.errors import BusyError, ConfigError, ResourceError
from genlab.sweep import jobs, ledger
from genlab.sweep import runner as sweeping
from genlab.sweep.plan import Job, Plan, plan
from tests.support.processes import PATIENCE

ROOT = str(Path(genlab.__file__).parents[1])
Fake = Callable[[str], None]
# What a job does in place of training: argv is its folder and its seed; it says how often it was started.
CHILD = """
import json, os, pathlib, signal, sys, time
folder, seed = pathlib.Path(sys.argv[1]), sys.argv[2]
folder.mkdir(exist_ok=True)
(folder / "ckpt").mkdir(exist_ok=True)
with open(folder / "starts", "a") as file:
    file.write("x")
healed = os.path.exists("healed")
if seed == "2" and not healed:
    {fault}
(folder / "run.json").write_text(json.dumps({{"status": "done", "metrics": {{"valid/elbo": -float(seed)}}}}))
print("end of", seed)
"""
FAULTS = {
    "exception": ("raise ValueError('boom')", "failed", 1),
    "exit": ("sys.exit(3)", "failed", 3),
    "exit 0 unfinished": ("sys.exit(0)", "failed", 0),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", "killed", 137),
    "bus error": ("os.kill(os.getpid(), signal.SIGBUS)", "killed", 135),
    "abort": ("os.abort()", "killed", 134),
    "memory": ("raise MemoryError", "failed", 1),
}


@pytest.fixture(params=["fork", "spawn"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way in which jobs are started: every promise holds for both."""
    monkeypatch.setattr(sweeping, "_starter", lambda: getattr(jobs, request.param))
    return request.param


@pytest.fixture
def fake(start: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`fake(fault)` makes jobs run CHILD with that fault at seed 2."""

    def install(fault: str) -> None:
        child = tmp_path / "child.py"
        child.write_text(CHILD.format(fault=fault))

        def words(job: Job) -> list[str]:
            return [str(child), str(job.composed.run_dir), str(job.composed.config["seed"])]

        def work(job: Job, _: Sequence[str]) -> int:
            faulthandler.disable()  # pytest's, which would print where every deliberate crash is
            sys.argv = words(job)
            runpy.run_path(str(child))
            return 0

        monkeypatch.setattr(jobs, "interpreter", lambda job, _: [sys.executable, *words(job)])
        monkeypatch.setattr(jobs, "work", work)

    return install


def entries(folder: str = "out") -> list[dict]:
    return json.loads(Path(folder, "sweep.json").read_text())["jobs"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("parallel", ["1", "3"])
def test_a_job_that_fails_leaves_the_others_alone(
    fault: str, parallel: str, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    code, status, exit_code = FAULTS[fault]
    fake(code)
    command = ["train", "-m", "--jobs", parallel, "seed=1,2,3", "hydra.sweep.dir=out"]
    assert main.main(command) == 8
    out, err = capsys.readouterr()
    assert [entry["status"] for entry in entries()] == ["done", status, "done"]
    assert entries()[1]["code"] == exit_code
    assert [line.split()[2] for line in out.splitlines()[1:]] == ["done", status, "done"]
    assert "valid/elbo -3" in out
    assert "genlab: error: 1 of 3 jobs failed: 1; " in err.splitlines()[-1]
    # the same command again runs that one job only
    Path("healed").touch()
    assert main.main(command) == 0
    assert [len(Path("out", f"{i}-seed={i + 1}", "starts").read_text()) for i in range(3)] == [1, 2, 1]
    assert [entry["status"] for entry in entries()] == ["done"] * 3


def test_another_sweep_does_not_fit_in_the_folder(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("pass")
    assert main.main(["train", "-m", "seed=1,3", "hydra.sweep.dir=out"]) == 0
    assert main.main(["train", "-m", "seed=1,3", "trainer.steps=9", "hydra.sweep.dir=out"]) == 4
    assert "sweep of other jobs" in capsys.readouterr().err
    Path("out", "sweep.json").write_text("{")
    assert main.main(["train", "-m", "seed=1,3", "hydra.sweep.dir=out"]) == 4
    Path("other").mkdir()
    Path("other", "file").touch()
    assert main.main(["train", "-m", "seed=1,3", "hydra.sweep.dir=other"]) == 2
    assert [path.name for path in Path("other").iterdir()] == ["file"]


@contextlib.contextmanager
def lock_holder(folder: str) -> Iterator[int]:
    """Another process that holds the lock in a folder; its pid."""
    code = (
        f"import time; from pathlib import Path; from genlab.runs.lock import Lock; "
        f"lock = Lock(Path('{folder}/lock')); "
        "print(1, flush=True); time.sleep(6000)"
    )
    Path(folder).mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


def test_one_sweep_at_a_time_in_a_folder(fake: Fake, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fake("pass")
    with lock_holder("out") as pid:
        assert main.main(["train", "-m", "seed=1,3", "hydra.sweep.dir=out"]) == 7
        assert str(pid) in capsys.readouterr().err
    assert main.main(["train", "-m", "seed=1,3", "hydra.sweep.dir=out"]) == 0


def test_the_quicker_of_two_keeps_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(path: Path) -> None:
        path.touch()  # the other process, right after our mkdir
        raise BusyError("in use")

    monkeypatch.setattr(ledger, "Lock", taken)
    assert main.main(["train", "-m", "seed=1,3", "hydra.sweep.dir=out"]) == 7
    assert Path("out/lock").exists()


def test_a_refused_new_folder_is_removed_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        path.touch()
        raise PermissionError

    monkeypatch.setattr(ledger, "Lock", full)
    Path("out").mkdir()
    Path("out/lock").touch()
    with pytest.raises(ConfigError):
        ledger._claim(Plan([], Path("out"), named=False))
    assert Path("out/lock").exists()
    assert not Path("out-1").exists()


def test_a_live_run_is_not_removed(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of a killed sweep that has not saved yet and takes longer than we wait."""
    monkeypatch.setattr(sweeping, "PATIENCE", 0.2)
    fake("sys.exit(7)")
    assert main.main(["train", "-m", "seed=1,2", "hydra.sweep.dir=out"]) == 8
    Path("out/1-seed=2").rename("gone")
    with lock_holder("out/1-seed=2"):
        Path("out/1-seed=2/precious").touch()
        assert main.main(["train", "-m", "seed=1,2", "hydra.sweep.dir=out"]) == 8
        assert Path("out/1-seed=2/precious").exists()
        assert (entries()[1]["status"], entries()[1]["code"]) == ("failed", 7)


@pytest.mark.parametrize("name", ["1-seed=2", "1.log"])
def test_a_job_folder_that_is_a_link_is_refused(name: str, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("sys.exit(1)")
    command = ["train", "-m", "seed=1,2", "hydra.sweep.dir=out"]
    assert main.main(command) == 8
    Path("out", name).rename("elsewhere")
    Path("out", name).symlink_to("../elsewhere")
    assert main.main(command) == 2
    assert "is a link" in capsys.readouterr().err
    assert Path("elsewhere").exists()


def test_a_log_that_has_another_name_outside_is_refused(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("sys.exit(1)")
    command = ["train", "-m", "seed=1,2", "hydra.sweep.dir=out"]
    assert main.main(command) == 8
    Path("out/1.log").unlink()
    Path("victim").write_text("mine")
    Path("out/1.log").hardlink_to("victim")
    assert main.main(command) == 2
    assert "is a link" in capsys.readouterr().err
    assert Path("victim").read_text() == "mine"


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"metrics": {"images_per_second": 0.0}}, "-"),
        ({"metrics": {"images_per_second": 9.0, "valid/psnr": 2.0, "valid/loss": 1.0}}, "valid/loss 1"),
        ({"metrics": {"valid/sample_distance": 0.9, "valid/discriminator/loss": 1.0}}, "valid/sample_distance 0.9"),
        ({"metrics": {"valid/loss": 1.0, "valid/elbo": 3.0}, "best": {"metric": "valid/elbo"}}, "valid/elbo 3"),
        ({}, "-"),
    ],
)
def test_the_metric_shown(record: dict, shown: str) -> None:
    assert sweeping._metric(record) == shown


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_a_sweep(signum: int, code: int, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("signal.signal(signal.SIGINT, lambda *_: sys.exit(130)); open('ready', 'w'); time.sleep(6000)")
    code_of_killer = (
        f"import os, time\nwhile not os.path.exists('ready'): time.sleep(.05)\nos.kill({os.getpid()}, {int(signum)})"
    )
    killer = subprocess.Popen([sys.executable, "-c", code_of_killer])
    assert main.main(["train", "-m", "seed=1,2,3", "hydra.sweep.dir=out"]) == code
    killer.wait()
    assert [entry["status"] for entry in entries()] == ["done", "stopped", "waiting"]
    assert "hydra.sweep.dir" in capsys.readouterr().err
    Path("healed").touch()
    assert main.main(["train", "-m", "seed=1,2,3", "hydra.sweep.dir=out"]) == 0
    assert [len(Path("out", f"{i}-seed={i + 1}", "starts").read_text()) for i in range(3)] == [1, 2, 1]


def test_a_killed_sweep_takes_its_jobs_along(tmp_path: Path, start: str, fake: Fake) -> None:
    """SIGKILL to the sweep: its child is asked to stop by the kernel; the next start runs what is not done."""
    fake("time.sleep(6000)")
    code = f"""
import runpy, sys
from genlab.cli import main
from genlab.sweep import jobs, runner
def words(job):
    return [{str(tmp_path / "child.py")!r}, str(job.composed.run_dir), str(job.composed.config["seed"])]
def work(job, _):
    sys.argv = words(job)
    runpy.run_path(sys.argv[0])
    return 0
jobs.interpreter = lambda job, _: [sys.executable, *words(job)]
jobs.work = work
runner._starter = lambda: jobs.{start}
main.main(["train", "-m", "seed=1,2,3", "hydra.sweep.dir=out"])
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, stderr=subprocess.DEVNULL
    )
    while not Path("out/1-seed=2/starts").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, text=True, check=True).stdout)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + PATIENCE
    while sys.platform == "linux" and _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [entry["status"] for entry in entries()] == ["done", "running", "waiting"]
    Path("healed").touch()
    assert main.main(["train", "-m", "seed=1,2,3", "hydra.sweep.dir=out"]) == 0
    assert [len(Path("out", f"{i}-seed={i + 1}", "starts").read_text()) for i in range(3)] == [1, 2, 1]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_default_folders_do_not_collide(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake("pass")
    for _ in range(2):
        assert main.main(["train", "-m", "seed=1,3"]) == 0
    assert len(list(Path("outputs/sweeps").iterdir())) == 2


def test_a_job_that_cannot_be_started_is_not_left_running(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **keys: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = set(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(jobs.os, "fork", refused)
        patch.setattr(jobs.subprocess, "Popen", refused)
        with pytest.raises(ResourceError, match=r"job 0 could not be started .*temporarily unavailable"):
            sweeping.sweep(plan(["seed=1,2", "hydra.sweep.dir=out"]), 1)
    assert [entry["status"] for entry in entries()] == ["failed", "waiting"]
    assert len(os.listdir("/dev/fd")) == len(before)

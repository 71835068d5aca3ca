"""trainer.devices=N: the processes live and die together, and the command ends as one process would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import genlab
from genlab.checkpoint.manager import Checkpoints
from genlab.distributed import launcher, runtime
from genlab.distributed.cpu_threads import DIVIDED
from genlab.distributed.ranks import Ranks
from genlab.errors import PEER_GONE, ConfigError, ResourceError
from tests.support.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
RUN = ["dataset=digits", "model.network.hidden=[16]", "trainer.batch_size=32", "--device", "cpu", "logger=jsonl",
       "evaluator=objective", "trainer.devices=2"]  # fmt: skip


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "genlab", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def start_and_wait(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    """A run of two processes that has logged its first steps."""
    process = start("train", *RUN, "trainer.steps=100000", "evaluator=none", f"hydra.run.dir={folder}", *overrides)
    while not (folder / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def children(process: subprocess.Popen[str]) -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(int(pid) for pid in found)


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


# ---------------------------------------------------------------------- the real command


def test_two_processes_stop_when_asked_and_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_and_wait(run)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143, said
    assert said.count("stopping after this step") == 1
    assert said.count("genlab: stopped: ") == 1
    record = json.loads((run / "run.json").read_text())
    assert (record["world"], record["status"], record["code"]) == (2, "stopped", 143)
    assert Checkpoints(run / "ckpt").steps() == [record["step"]]

    going_on = start("resume", str(run), f"trainer.steps={record['step'] + 5}")  # its own devices=2
    _, said = going_on.communicate(timeout=PATIENCE)
    assert going_on.returncode == 0, said
    after = json.loads((run / "run.json").read_text())
    assert (after["world"], after["status"], after["step"]) == (2, "done", record["step"] + 5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_is_killed_takes_the_others_along(tmp_path: Path) -> None:
    process = start_and_wait(tmp_path / "run")
    ranks = children(process)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5, said
    assert "process 1 of 2 was ended by signal 9" in said
    assert said.count("genlab: error: ") == 1
    assert not alive(ranks)


def test_a_mistake_is_one_line_with_its_own_code(tmp_path: Path) -> None:
    process = start("train", *RUN, "trainer.batch_size=33", f"hydra.run.dir={tmp_path / 'run'}")
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "genlab: error: a batch of 33 cannot be divided among 2 process(es)" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------- who is to blame, with stand-ins for genlab


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the command are Python code, in which `rank` is known."""
    head = "import os, sys, time, signal; rank = int(os.environ['RANK']); "
    monkeypatch.setattr(launcher, "genlab_command", lambda *words: [sys.executable, "-c", head + " ".join(words)])
    monkeypatch.setattr(launcher, "GRACE", 1)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(0)", 0),
        (f"sys.exit(4 if rank == 1 else {PEER_GONE})", 4),
        (f"sys.exit(7 if rank == 0 else {PEER_GONE})", 7),
        (
            f"sys.exit(0 if rank == 0 else {PEER_GONE})",
            0,
        ),  # saved and done: what went wrong in leaving is nobody's loss
        ("sys.exit(1) if rank == 1 else (time.sleep(6000), open('outlived', 'w'))", 1),  # as NCCL waits
        ("sys.exit(130 + 13 * (rank % 2))", 130),
    ],
)
def test_the_code_is_that_of_the_process_that_failed(code: str, expected: int) -> None:
    assert launcher.launch(3, [code]) == expected
    assert not Path("outlived").exists()


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("code", [6, PEER_GONE])
def test_the_writer_of_a_run_that_diverged_is_waited_for(code: int, tmp_path: Path) -> None:
    words = f"rank or (time.sleep(2.5), open(r'{tmp_path}/written', 'w')); sys.exit({code} if rank else 6)"
    assert launcher.launch(2, [words]) == 6
    assert (tmp_path / "written").exists()


def test_the_ranks_share_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIVIDED, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert launcher.environment(1, 2, 1)[DIVIDED] == "4"


@pytest.mark.usefixtures("stand_in")
def test_the_line_of_the_process_that_failed_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    code = "print('noise', 'genlab: error: the disk of rank 1', sep='\\n', file=sys.stderr) if rank else None; "
    assert launcher.launch(2, [code + f"sys.exit({PEER_GONE} if rank == 0 else 5)"]) == 5
    assert capfd.readouterr().err == "genlab: error: the disk of rank 1\n"


@pytest.mark.usefixtures("stand_in")
def test_a_killed_process_is_named() -> None:
    code = f"os.kill(os.getpid(), signal.SIGSEGV) if rank == 1 else sys.exit({PEER_GONE})"
    with pytest.raises(ResourceError, match=r"process 1 of 2 was ended by signal 11 \(SIGSEGV\)"):
        launcher.launch(2, [code])


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_all_and_a_slow_save_is_waited_for(signum: int, tmp_path: Path) -> None:
    """Rank 0 is still writing long after the other has ended as asked."""
    code = (
        f"signal.signal({int(signum)}, lambda *_: (time.sleep(0 if rank else 2.5), "
        f"open(r'{tmp_path}/' + str(rank), 'w'), os._exit({128 + signum}))); "
        f"open(r'{tmp_path}/ready-' + str(rank), 'w'); time.sleep(600)"
    )

    def send() -> None:
        while len(list(tmp_path.glob("ready-*"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signum)

    before = signal.getsignal(signum)
    threading.Thread(target=send).start()
    assert launcher.launch(2, [code]) == 128 + signum
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "ready-0", "ready-1"]
    assert signal.getsignal(signum) is before


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a child of its parent's end")
def test_no_process_outlives_the_command(tmp_path: Path) -> None:
    child = f"open(r'{tmp_path}/' + str(os.getpid()), 'w'); time.sleep(6000)"
    script = (
        "import sys; from genlab.distributed import launcher; "
        f"launcher.genlab_command = lambda *words: [sys.executable, '-c', 'import os, time; ' + {child!r}]; "
        "launcher.launch(2, [])"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    process.kill()
    process.wait()
    ranks = [int(path.name) for path in tmp_path.iterdir()]
    end = time.monotonic() + PATIENCE
    while alive(ranks):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ports_differ_while_they_are_held() -> None:
    with launcher.free_port() as first, launcher.free_port() as second:
        assert first != second


# ---------------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("environment", "devices", "expected"),
    [({}, 4, 4), ({}, 1, 1), ({}, "two", 1), ({}, 10**6, 1), ({"WORLD_SIZE": "2"}, 4, 1)],
)
def test_when_processes_are_started(
    environment: dict[str, str], devices: object, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launcher.wanted({"trainer": {"devices": devices}}) == expected
    assert launcher.wanted({"trainer": "a stored configuration that was damaged"}) == 1


def test_the_function_starts_no_processes() -> None:
    with pytest.raises(ConfigError, match="only the command starts others"):
        genlab.train(["trainer.devices=2", "trainer.device=cpu"])


@pytest.mark.parametrize(
    ("here", "device", "devices", "said"),
    [
        ("4", "cpu", 2, "torchrun has started 4"),
        ("4", "auto", 1, r"4 processes and 2 CUDA device\(s\)"),
        ("4", "cuda", 4, r"use trainer\.devices=2"),
        ("2", "cuda:0", 1, "2 processes cannot share cuda:0"),
    ],
)
def test_processes_that_do_not_fit_the_machine(
    here: str, device: str, devices: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", here)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ConfigError, match=said):
        runtime.check_ranks(device, devices, Ranks(local_world_size=int(here)))


@pytest.mark.parametrize(("device", "devices"), [("cpu", 1), ("cpu", 4), ("auto", 4)])
def test_processes_that_do(device: str, devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setattr("torch.cuda.is_available", lambda: device == "auto")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    runtime.check_ranks(device, devices, Ranks(local_world_size=4))

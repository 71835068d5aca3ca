"""Sweeps of real training jobs, forked and not: what one job does, or draws, the others never notice."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import genlab
from genlab.config import compose
from genlab.sweep import fork_server, jobs
from genlab.sweep.plan import plan
from tests.support.processes import PATIENCE

ROOT = str(Path(genlab.__file__).parents[1])
FORKS = sys.platform == "linux"
TINY = ["trainer.steps=2", "evaluator=objective", "logger=jsonl"]
REFUSED = "from genlab.sweep import fork_server; fork_server.refusal = lambda: 'for this test'; "
MAIN = "import sys; from genlab.cli import main; sys.exit(main.main(sys.argv[1:]))"

PLUGIN = """
import atexit, ctypes, os, random, signal, tempfile
import numpy, torch
from genlab.models.autoencoders.autoencoder import Autoencoder
from genlab.registry import MODELS, NetworkSpec

atexit.register(print, "the sweep's own end")

@MODELS("faulty")
class Faulty(Autoencoder):
    def __init__(self, image_shape: tuple[int, int, int], network: NetworkSpec, fault: str = "none") -> None:
        super().__init__(image_shape, latent_dim=2, network=network)
        self.fault = fault

    def loss(self, *columns):
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "segfault":
            ctypes.string_at(0)
        if self.fault == "exit":
            os._exit(9)
        if self.fault == "raise":
            raise ValueError("boom")
        if self.fault.startswith("say"):
            self.say()
        return super().loss(*columns)

    def say(self):
        self.fault = "said"
        (torch.ones(600, 600) @ torch.ones(600, 600)).sum().item()
        self.__class__.kept = tempfile.TemporaryDirectory()
        print("DRAWN", random.random(), numpy.random.rand(), flush=True)
        print("THREADS", torch.get_num_threads(), "BAD FORK", torch.cuda._is_in_bad_fork(), torch.cuda.is_initialized())
        print("FOLDER", self.kept.name)
        atexit.register(print, "the job's own end")
"""


@pytest.fixture
def faulty(tmp_path: Path) -> list[str]:
    """The words that choose a model which does what model.fault says."""
    (tmp_path / "faulty_models.py").write_text(PLUGIN)
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "faulty.yaml").write_text(
        "# Fails on purpose\nname: faulty\nfault: none\nnetwork: {name: mlp, hidden: [8], activation: relu}\n"
    )
    return ["--config-dir", "mine", "--plugin", "faulty_models", "model=faulty"]


def launch(*words: str, code: str = MAIN) -> subprocess.Popen[str]:
    path = os.pathsep.join([ROOT, os.getcwd()])
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip


def sweep(*words: str, code: str = MAIN) -> tuple[int, str]:
    """Exit code and stderr of a sweep into `out`."""
    process = launch("-m", *words, "hydra.sweep.dir=out", code=code)
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def entries() -> list[dict]:
    return json.loads(Path("out", "sweep.json").read_text())["jobs"]


def statuses() -> list[tuple[str, int]]:
    return [(entry["status"], entry["code"]) for entry in entries()]


def job(index: int) -> Path:
    """The run folder of a job of the sweep `out`, which may not be there yet."""
    return next(Path("out").glob(f"{index}-*"), Path("out", str(index)))


def tensors(run: str | Path) -> bytes:
    return max(Path(run).glob("ckpt/step-*/tensors.safetensors")).read_bytes()


def test_jobs_of_a_faulty_plugin(faulty: list[str]) -> None:
    """Each ends alone, by its own fault; two that are alike share neither random numbers nor anything else."""
    code, said = sweep(*faulty, *TINY, "trainer.threads=2", "model.fault=kill,segfault,exit,raise,say,say-again,none")
    assert code == 8, said
    assert ("loads torch again" in said) is not FORKS
    killed, segfault = ("killed", 137), ("killed", 139)
    assert statuses() == [killed, segfault, ("failed", 9), ("failed", 1), *[("done", 0)] * 3]
    assert "4 of 7 jobs failed: 0, 1, 2, 3" in said
    assert "boom" in entries()[3]["error"]
    logs = [Path(f"out/{index}.log").read_text() for index in (4, 5)]
    facts = [{line.split()[0]: line.split()[1:] for line in log.splitlines() if line} for log in logs]
    for number in (0, 1):
        assert facts[0]["DRAWN"][number] != facts[1]["DRAWN"][number]
    for fact, log in zip(facts, logs, strict=True):
        assert fact["THREADS"] == ["2", "BAD", "FORK", "False", "False"]
        assert not Path(fact["FOLDER"][0]).exists()  # what a job leaves to its end is done
        assert log.splitlines()[-1] == "the job's own end" or not FORKS
    assert tensors(job(4)) == tensors(job(5)) == tensors(job(6))


def test_without_forks_a_job_is_an_interpreter(faulty: list[str]) -> None:
    code, said = sweep(*faulty, *TINY, "model.fault=kill,none", code=REFUSED + MAIN)
    assert code == 8, said
    assert "in a new process and loads torch again: for this test" in said
    assert statuses() == [("killed", 137), ("done", 0)], Path("out/1.log").read_text()


def test_a_job_is_what_a_run_of_its_own_would_be() -> None:
    """Bit for bit, whatever ran before it in the sweep and beside it."""
    code, said = sweep("--jobs", "4", *TINY, "seed=0,1,2", "name=a,b")
    assert code == 0, said
    alone = launch(*TINY, "seed=2", "name=b", "hydra.run.dir=alone")
    assert alone.wait(timeout=PATIENCE) == 0
    assert tensors(job(4)) == tensors(job(5)) == tensors("alone")
    assert len({tensors(job(index)) for index in range(6)}) == 3
    records = [json.loads(Path(run, "run.json").read_text()) for run in (job(5), Path("alone"))]
    same = ("config_hash", "threads", "versions", "git", "data", "model", "status", "step", "world", "precision")
    assert {key: records[0][key] for key in same} == {key: records[1][key] for key in same}
    figures = [{key: value for key, value in record["metrics"].items() if "second" not in key} for record in records]
    assert figures[0] == figures[1]
    assert shlex.split(records[0]["command"])[-1] == f"hydra.run.dir='{Path.cwd()}/out/5-seed=2-name=b'"


def test_ctrl_c_reaches_every_job_once() -> None:
    words = ["--jobs", "2", "trainer.steps=1000000", "evaluator=none", "logger=jsonl", "seed=1,2,3"]
    process = launch("-m", *words, "hydra.sweep.dir=out")
    try:
        while not all((job(index) / "metrics.jsonl").exists() for index in (0, 1)):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to the group, which the jobs are not in
        process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert [entry["status"] for entry in entries()] == ["stopped", "stopped", "waiting"]
    for index in (0, 1):
        assert Path(f"out/{index}.log").read_text().count("stopping after this step") == 1
        record = json.loads((job(index) / "run.json").read_text())
        assert record["status"] == "stopped"
        assert record["step"] > 0
        assert tensors(job(index))


SERVER = """
import sys, torch
from genlab.cli import main
def touched(*a, **k): raise AssertionError("the GPU was asked for")
for name in ("is_available", "device_count", "init", "current_device", "_lazy_init"):
    setattr(torch.cuda, name, touched)
from genlab.sweep.plan import plan
from genlab.sweep import fork_server, jobs
planned = plan(["seed=0,1", "trainer.steps=1"], [])
fork_server.warm()
reason = fork_server.refusal()
assert reason is None, reason
work, before = jobs.work, set(sys.modules)
def watched(job, words):
    code = work(job, words)
    sys.stdout.write("NEW " + " ".join(sorted(set(sys.modules) - before)) + "\\n")
    return code
import importlib; importlib.reload(torch.cuda)
"""


def test_the_server_touches_no_gpu_and_a_job_imports_nothing() -> None:
    """What is imported before the fork is imported once: a module missing in FIRST_USES costs every job."""
    code = SERVER + f"jobs.work = watched\n{MAIN}"
    process = launch("-m", "seed=0,1", "trainer.steps=1", "hydra.sweep.dir=out", code=code)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    new = Path("out/1.log").read_text().split("NEW", 1)[1].split()
    assert not [name for name in new if not name.startswith(("genlab.cli", "genlab.sweep"))]


@pytest.mark.skipif(not FORKS, reason="no fork on this platform")
def test_many_jobs_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither descriptors nor memory of the sweep grow with the number of its jobs."""
    job = plan([], []).jobs[0]
    monkeypatch.setattr(jobs, "work", lambda job, words: 0)

    def run(count: int) -> tuple[int, int]:
        for _ in range(count):
            child = jobs.fork(job, ["train"], tmp_path / "0.log")
            while child.poll() is None:
                time.sleep(0.001)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE")

    descriptors, memory = run(3)
    after = run(20)
    assert after[0] == descriptors
    assert after[1] - memory < 5e6


@pytest.mark.skipif(not FORKS, reason="no fork on this platform")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()", "a thread"),
        ("import torch; torch.set_num_threads(2); torch.ones(600, 600) @ torch.ones(600, 600)", "started threads"),
        ("import os; os.readlink = lambda path: '/dev/nvidiactl'", "used the GPU"),
        ("import sys; sys.platform = 'darwin'", "darwin"),
        ("import numpy", "None"),
    ],
)
def test_what_forbids_a_fork(code: str, reason: str) -> None:
    code = f"{code}\nfrom genlab.sweep import fork_server\nprint(fork_server.refusal())"
    environment = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert reason in done.stdout


def test_a_thread_of_the_tests_forbids_it() -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    try:
        assert fork_server.refusal() is not None
    finally:
        event.set()
        thread.join()


@pytest.mark.parametrize(
    "arguments",
    [
        ["model=vae,dcgan", "seed=1,2", "trainer.steps=1,null", "name=x"],
        ["model=vae,dcgan", "dataset=digits,mnist", "optimizer.lr=1e-3,1e-4,1"],
        ["model=dcgan", "optimizer.phases.generator.lr=1e-3,1e-4", "seed=${trainer.log_every},3"],
        ["optimizer.lr=1,2", "optimizer.lr=5", "name=a,b"],
        ["evaluator=[objective,samples]", "evaluator.samples.every=5,null", "schedule=constant,cosine"],
        ["optimizer.betas=[0.1,0.9],[0.2,0.9]", "dataset.root='a,b','${name}'", "name=a,'b c','${model.name}'"],
    ],
)  # fmt: skip
def test_shared_composition_changes_nothing(arguments: list[str]) -> None:
    jobs = plan(arguments, []).jobs
    assert len(jobs) > 1
    for job in jobs:
        assert job.composed.config == compose.check(compose.compose(job.overrides).config)


def test_a_job_whose_time_is_over_is_stopped_and_not_failed() -> None:
    code, said = sweep(*TINY, "seed=0,1", "trainer.steps=9", "trainer.max_time=0.001s", "hydra.sweep.dir=out")
    jobs = json.loads(Path("out/sweep.json").read_text())["jobs"]
    assert [(job["status"], job["code"]) for job in jobs] == [("stopped", 0)] * 2, said
    assert code != 0

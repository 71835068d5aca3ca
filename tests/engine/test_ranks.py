"""Two processes with half a batch each are one process with the whole batch (gloo)."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from genlab.checkpoint.manager import Checkpoints
from genlab.core import rng
from genlab.core.model import Phase
from genlab.core.values import Logger
from genlab.distributed.runtime import Runtime
from genlab.engine.evaluate import evaluate
from genlab.engine.phase_state import PhaseState
from genlab.engine.trainer import Trainer
from genlab.errors import CheckpointError, Stopped
from genlab.evaluation.evaluators.likelihood.objective import Objective
from genlab.workflows import resume_check
from tests.support.gloo import among
from tests.support.trainers import FAMILIES, MakeTrainer

STEPS = ["dataset=digits", "trainer.steps=20", "trainer.batch_size=32", "trainer.log_every=5", "--device", "cpu",
         "evaluator=objective", "logger=jsonl"]  # fmt: skip


def run(launcher: list[str], *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, *launcher, "-m", "genlab", "train", *STEPS, *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


TWO = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--rdzv-backend=c10d",
       "--rdzv-endpoint=localhost:0"]  # fmt: skip


def test_torchrun_starts_the_ranks_and_one_process_does_not_go_on_for_two(tmp_path: Path) -> None:
    two = tmp_path / "two"
    done = run(TWO, *FAMILIES["vae"], f"hydra.run.dir={two}")
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((two / "run.json").read_text())
    assert (record["world"], record["status"], record["step"]) == (2, "done", 20)
    logged = [json.loads(line) for line in (two / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in logged if r["split"] == "train"] == [5, 10, 15, 20]
    assert record["metrics"]["valid/loss"] == [r["loss"] for r in logged if r["split"] == "valid"][-1]

    refused = run([], *FAMILIES["vae"], f"hydra.run.dir={two}", "trainer.steps=30")
    assert refused.returncode == 4
    assert "processes (2 then, 1 now)" in refused.stderr
    assert refused.stderr.count("\n") == 1


# ---------------------------------------------------------------------- without a command: the trainer itself


def steps(trainer: Trainer, count: int) -> dict[str, Any]:
    """Weights, buffers and what was logged after `count` steps."""
    trainer.model.train()
    logged = [trainer.runtime.mean(trainer.train_step()) for _ in range(count)]
    return {"state": dict(trainer.model.state_dict()), "logged": logged}


@pytest.mark.parametrize("family", FAMILIES)
def test_fifty_steps_of_two_ranks_are_those_of_one(family: str, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Also with batch norm (dcgan), whose statistics are those of the global batch."""

    def work(runtime: Runtime | None = None) -> dict[str, Any]:
        return steps(make_trainer(family, "trainer.batch_size=32", "trainer.steps=60", runtime=runtime), 50)

    one, two = work(), among(2, tmp_path / "two", work)
    assert one["state"].keys() == two[0]["state"].keys()
    for name, tensor in one["state"].items():
        assert torch.equal(two[0]["state"][name], two[1]["state"][name]), name
        assert torch.allclose(tensor, two[0]["state"][name], rtol=0, atol=1e-6), name
    for a, b in zip(one["logged"], two[0]["logged"], strict=True):
        assert {k: float(v) for k, v in b.items()} == pytest.approx({k: float(v) for k, v in a.items()}, abs=1e-5)


def test_the_objective_is_shared_and_comes_out_the_same(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Five uneven batches among two ranks, and more ranks than batches; noise is drawn in the VAE's objective."""

    def work(runtime: Runtime, size: int) -> dict[str, float]:
        trainer = make_trainer("vae", "trainer.batch_size=24", runtime=runtime)
        size = math.ceil(trainer.data.sizes()["valid"] / size)
        found = evaluate(Objective(size), trainer.model, trainer.data, 3, runtime=runtime)  # type: ignore[arg-type]
        return dict(found)

    alone = Runtime(torch.device("cpu"))
    for world_size, batches in ((2, 5), (3, 2)):
        expected = work(alone, batches)
        for found in among(world_size, tmp_path / str(world_size), lambda runtime, n=batches: work(runtime, n)):
            assert found == pytest.approx(expected, rel=1e-6)


def test_a_rank_that_fails_in_an_evaluation_takes_the_others_along(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    def work(runtime: Runtime) -> str:
        trainer = make_trainer("vae", "evaluator=objective", runtime=runtime)
        if runtime.rank == 1:
            monkeypatch = pytest.MonkeyPatch()
            monkeypatch.setattr(Objective, "sums", lambda *_: 1 / 0)
        try:
            trainer.fit(Logger(), lambda *_: None, lambda: 0)
        except Exception as error:
            dist.destroy_process_group()
            return type(error).__name__
        return "went on"

    failed, rank_1 = among(2, tmp_path / "two", work)
    assert rank_1 == "ZeroDivisionError"
    assert failed not in ("went on", "ZeroDivisionError")


def test_an_update_without_gradients_sees_the_global_batch(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """A phase without a module (PCA, k-means), and its noise, are the same on every rank and in one process."""

    def work(runtime: Runtime | None = None) -> dict[str, torch.Tensor]:
        trainer = make_trainer("autoencoder", "trainer.batch_size=32", runtime=runtime)
        seen: dict[str, torch.Tensor] = {}

        def update(image: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.update(image=image, noise=rng.normal(len(image), 3, like=image))
            return {"loss": image.mean()}

        trainer.phases[:] = [PhaseState(Phase("statistics", update), [], None, None)]
        trainer.train_step()
        return seen

    one = work()
    for two in among(2, tmp_path / "two", work):
        assert torch.equal(one["image"], two["image"])
        assert torch.equal(one["noise"], two["noise"])


def test_all_ranks_stop_at_the_same_step_and_rarely_ask(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Only rank 1 is told to stop, at its tenth step."""

    def work(runtime: Runtime) -> list[int]:
        trainer = make_trainer("vae", "trainer.steps=100000", "trainer.log_every=100000", runtime=runtime)
        asked = 0
        largest = Runtime.all_reduce_max

        def counted(self: Runtime, numbers: list[float]) -> list[float]:
            nonlocal asked
            asked += 1
            return largest(self, numbers)

        pytest.MonkeyPatch().setattr(Runtime, "all_reduce_max", counted)
        try:
            trainer.fit(Logger(), lambda *_: None, lambda: 15 if runtime.rank == 1 and trainer.step >= 10 else 0)
        except Stopped as stopped:
            return [stopped.code, trainer.step, asked]
        return []

    first, second = among(2, tmp_path / "two", work)
    assert first == second
    code, step, asked = first
    assert code == 143
    assert step >= 10
    assert asked <= max(6, step / 2)


def test_ranks_go_on_from_the_same_checkpoint_or_not_at_all(tmp_path: Path) -> None:
    for rank, step in ((0, 5), (1, 3)):  # a disk that shows one host less than another
        (tmp_path / str(rank)).mkdir()
        Checkpoints(tmp_path / str(rank) / "ckpt").save(step, {"weight": torch.ones(2)}, {})

    def work(runtime: Runtime) -> list[str]:
        same = resume_check.newest(tmp_path / "0", runtime)
        assert same is not None
        try:
            other = resume_check.newest(tmp_path / str(runtime.rank), runtime)
        except CheckpointError as error:
            return [str(same.step), str(error)]
        assert other is not None
        return [str(same.step), str(other.step)]

    first, second = among(2, tmp_path / "ranks", work)
    assert first == ["5", "5"]
    assert second[0] == "5"
    assert second[1].startswith("process 1 finds the checkpoint of step 3, process 0 that of 5; ")


def test_the_mean_of_nothing_is_nothing() -> None:
    assert Runtime(torch.device("cpu"), "fp32", 0, 2).mean({}) == {}  # a step at which no phase is due

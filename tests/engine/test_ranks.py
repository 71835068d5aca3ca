"""Two processes with half a batch each are one process with the whole batch (gloo, through the real command)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from genlab.checkpoint import Checkpoints
from tests.engine.conftest import FAMILIES

STEPS = ["dataset=digits", "trainer.steps=20", "trainer.batch_size=32", "trainer.log_every=5", "trainer.device=cpu",
         "evaluator=objective", "logger=jsonl"]  # fmt: skip


def run(launcher: list[str], *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, *launcher, "-m", "genlab", "train", *STEPS, *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


TWO = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--rdzv-backend=c10d",
       "--rdzv-endpoint=localhost:0"]  # fmt: skip


def test_two_ranks_equal_one_and_one_does_not_go_on_for_two(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert run([], *FAMILIES["vae"], f"hydra.run.dir={one}").returncode == 0
    done = run(TWO, *FAMILIES["vae"], f"hydra.run.dir={two}")
    assert done.returncode == 0, done.stderr[-2000:]
    a, b = Checkpoints(one / "ckpt").newest(), Checkpoints(two / "ckpt").newest()
    assert a is not None
    assert b is not None
    weights = [name for name in a.tensors if name.startswith("model")]
    assert weights
    for name in weights:
        assert torch.allclose(a.tensors[name], b.tensors[name], atol=1e-6), name
    first, second = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)
    )
    assert [r["step"] for r in first] == [r["step"] for r in second]
    for r, s in zip(first, second, strict=True):
        assert r["loss"] == pytest.approx(s["loss"], rel=1e-4)
    assert json.loads((two / "run.json").read_text())["world"] == 2

    refused = run([], *FAMILIES["vae"], f"hydra.run.dir={two}", "trainer.steps=30")
    assert refused.returncode == 4
    assert "processes (2 then, 1 now)" in refused.stderr
    assert refused.stderr.count("\n") == 1

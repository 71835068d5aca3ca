"""Faults of a GPU: memory that runs out, a device that is lost, a kill; the run ends with one line and resumes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.harness.runner import ROOT
from tests.support.processes import Ended
from tests.support.tiny_runs import difference, fingerprint

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
COMMON = ["dataset=digits", "--device", "cuda", "trainer.deterministic=true", "trainer.steps=12",
          "trainer.batch_size=32", "trainer.log_every=1", "checkpoint.every=4", "trainer.ema_decay=0.9",
          "evaluator=objective", "logger=[jsonl,tensorboard]"]  # fmt: skip
SMALL = {
    "vae": ["model=vae", "model.network.hidden=[32]", "model.latent_dim=4"],
    "dcgan": ["model=dcgan", "model.generator.base_channels=8", "model.discriminator.base_channels=8"],
    "wgan_gp": ["model=wgan_gp"],
    "vqvae": ["model=vqvae"],
}
# what a new process does before the command; a CUDA context does not survive a fork
KILL = "from tests.harness import hooks; hooks.at_step(7, hooks.killed)()"
LOSE = """
import torch
from tests.harness import hooks
hooks.at_step(7, lambda: torch.zeros(1, device="cuda")[torch.tensor([9], device="cuda")].item())()
"""
FILL = """
import torch
torch.cuda.set_per_process_memory_fraction(1e-3)
"""


def train(run: Path, words: list[str], first: str = "") -> Ended:
    """The command in a new process, in which `first` is executed before."""
    code = f"{first}\nimport sys\nfrom genlab.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "train", *COMMON, *words, f"hydra.run.dir={run}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def whole(tmp_path: Path, words: list[str]) -> dict[str, Any]:
    found = train(tmp_path / "whole", words)
    assert found.code == 0, found.err
    return fingerprint(tmp_path / "whole")


@pytest.mark.parametrize("graphs", ["true", "false"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", SMALL)
def test_a_killed_run_resumes_to_the_same_bits(family: str, precision: str, graphs: str, tmp_path: Path) -> None:
    words = [*SMALL[family], f"trainer.precision={precision}", f"trainer.cuda_graphs={graphs}"]
    expected = whole(tmp_path, words)
    assert train(tmp_path / "run", words, KILL).code == -9
    assert train(tmp_path / "run", words).code == 0
    assert difference(expected, fingerprint(tmp_path / "run")) is None


def test_a_lost_device_ends_with_one_line_and_a_new_process_resumes(tmp_path: Path) -> None:
    """A kernel's failed assertion makes every later call of this process fail: nothing more can be saved."""
    expected = whole(tmp_path, SMALL["vae"])
    found = train(tmp_path / "run", SMALL["vae"], LOSE)
    errors = [line for line in found.err.splitlines() if line.startswith("genlab: error")]
    assert (found.code, len(errors)) == (5, 1), found.err
    assert "device was lost" in errors[0]
    assert train(tmp_path / "run", SMALL["vae"]).code == 0
    assert difference(expected, fingerprint(tmp_path / "run")) is None


def test_memory_of_the_gpu_that_runs_out_is_named_with_what_to_change(tmp_path: Path) -> None:
    found = train(tmp_path / "run", ["model=dcgan", "trainer.batch_size=1024"], FILL)
    errors = [line for line in found.err.splitlines() if line.startswith("genlab: error")]
    assert (found.code, len(errors)) == (5, 1), found.err
    assert "trainer.batch_size" in errors[0]

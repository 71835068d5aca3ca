"""From Python: the same runs as the command's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import genlab
from genlab.core.model import Encodes, Reconstructs, Samples
from genlab.errors import ConfigError

TINY = ["trainer.steps=3", "trainer.batch_size=8", "logger=jsonl", "evaluator=objective", "model.network.hidden=[8]"]


def test_train_and_load(tmp_path: Path) -> None:
    result = genlab.train([*TINY, f"hydra.run.dir={tmp_path / 'run'}"])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert result.metrics == record["metrics"]
    assert record["metrics"]["valid/elbo"] == pytest.approx(-record["metrics"]["valid/loss"])
    model = genlab.load(tmp_path / "run")
    assert isinstance(model, Samples)
    assert isinstance(model, Encodes)
    assert isinstance(model, Reconstructs)
    assert not model.training
    image = torch.rand(5, 1, 8, 8)
    assert model.reconstruct(image).shape == image.shape
    again = genlab.load(str(tmp_path / "run"))
    assert torch.equal(model.encode(image), again.encode(image))


def test_a_run_leaves_the_process_as_it_was() -> None:
    torch.use_deterministic_algorithms(False)
    for _ in range(2):  # twice: the package's functions are not hidden by its modules
        genlab.train([*TINY, "dry_run=true", "trainer.deterministic=true"])
        assert not torch.are_deterministic_algorithms_enabled()
        assert float(torch.tensor(1e-40) * 1) > 0  # denormal numbers are not flushed
    assert not Path("outputs").exists()


def test_errors_carry_the_exit_code() -> None:
    with pytest.raises(ConfigError) as caught:
        genlab.train(["model=vea"])
    assert caught.value.code == 2


def test_runs_are_found_evaluated_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    runs = genlab.train_sweep([*TINY, "seed=0,1", "model.beta=1,2", "hydra.sweep.dir=outputs/s"])
    assert [(run["seed"], run["model.beta"], run["status"]) for run in runs] == [
        (seed, beta, "done") for seed in (0, 1) for beta in (1, 2)
    ]
    assert [run["path"] for run in genlab.find_runs("model.beta=2", sort="-seed")] == [
        "outputs/s/3-seed=1-beta=2",
        "outputs/s/1-seed=0-beta=2",
    ]
    result = genlab.evaluate("outputs/s/0-seed=0-beta=1", "objective", split="valid", batch_size=50)
    assert result["protocol"]["options"] == {"batch_size": 50}
    assert result["metrics"]["loss"] == pytest.approx(runs[0]["valid/loss"], rel=0.01)  # other noise
    found = genlab.compare("outputs/s", metric=["kl"])
    assert {pair.metric.key.name for pair in found.pairs} == {"kl"}
    assert len(found.records()) == 4
    with pytest.raises(ConfigError):
        genlab.find_runs("dcgan")

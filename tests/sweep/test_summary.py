from __future__ import annotations

import csv
from pathlib import Path

import pytest

from genlab.sweep.summary import summarize
from tests.support.written_runs import write_run


def summarized(folder: str, jobs: list[dict[str, object]]) -> None:
    summarize(Path(folder), jobs, [Path(folder, str(index)) for index in range(len(jobs))])


def entries(*overrides: str, status: str = "done") -> list[dict[str, object]]:
    return [{"overrides": words.split(), "status": status, "code": 0} for words in overrides]


def a_sweep(
    losses: dict[str, tuple[float, ...]], metric: str = "valid/loss", **model: object
) -> list[dict[str, object]]:
    """Runs below `s`: by the value of model.latent_dim, the losses of the seeds 0, 1, ..."""
    found, number = [], 0
    for width, values in losses.items():
        for seed, loss in enumerate(values):
            best = {"metric": metric, "value": loss, "step": 100}
            config = {"model": {"name": "vae", "latent_dim": int(width), **model}}
            write_run(f"s/{number}", seed, {metric: loss}, config=config, best=best)
            found += entries(f"model.latent_dim={width} seed={seed}")
            number += 1
    return found


def test_a_sweep_ends_with_means_the_best_and_a_csv(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = a_sweep({"2": (3.0, 5.0), "8": (2.0, 3.0)})
    jobs += entries("model.latent_dim=9 seed=0", status="failed")  # it has no folder
    summarized("s", jobs)
    out = capsys.readouterr().out
    assert "model.latent_dim=2  2      valid/loss  4 ± 1.4" in out
    assert "model.latent_dim=8  2      valid/loss  2.5 ± 0.71" in out
    assert "best of 2: model.latent_dim=8, mean valid/loss 2.5" in out
    with open("s/sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model.latent_dim"], row["seed"], row["status"], row["valid/loss"]) for row in rows] == [
        ("2", "0", "done", "3.0"), ("2", "1", "done", "5.0"), ("8", "0", "done", "2.0"), ("8", "1", "done", "3.0"),
        ("9", "0", "failed", ""),
    ]  # fmt: skip


def test_of_some_metrics_the_largest_is_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    summarized("s", a_sweep({"2": (0.7,), "8": (0.9,)}, metric="valid/accuracy"))
    assert "best of 2: model.latent_dim=8, mean valid/accuracy 0.9" in capsys.readouterr().out


def test_losses_of_other_objectives_have_no_best(capsys: pytest.CaptureFixture[str]) -> None:
    best = {"metric": "valid/loss", "value": 1.0, "step": 100}
    for number, name in enumerate(("vae", "autoencoder")):
        config = {"name": name, "model": {"name": name}}
        write_run(f"s/{number}", 0, {"valid/loss": 1.0}, config=config, best=best)
    summarized("s", entries("model=vae", "model=autoencoder"))
    assert "best: valid/loss cannot be compared: another model.name" in capsys.readouterr().out


def test_many_configurations_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    summarized("s", a_sweep({str(width): (float(width),) for width in range(1, 31)}))
    assert "best of 30: model.latent_dim=1," in capsys.readouterr().out
    Path("empty").mkdir()
    summarized("empty", entries("seed=0", status="failed"))
    assert Path("empty/sweep.csv").exists()

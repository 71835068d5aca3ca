"""Which step was the best, early stopping, and the end of a process after its time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genlab.checkpoint.manager import Checkpoints
from genlab.cli import main
from genlab.engine.ranking import Ranking, rises
from genlab.errors import ConfigError
from tests.support.commands import SMALL_VAE
from tests.support.trainers import MakeTrainer, fit, same, trained

# a learning rate at which no weight changes: the first value stays the best
FROZEN = ["optimizer=sgd", "optimizer.lr=1e-30", "optimizer.momentum=0.0", "evaluator=[objective,probe]",
          "evaluator.objective.every=2", "evaluator.probe.every=null", "trainer.steps=40",
          "trainer.patience=5"]  # over at step 7, noticed by the evaluation at 8  # fmt: skip
TRAIN = ["train", *SMALL_VAE, "trainer.batch_size=16", "evaluator=objective", "logger=[jsonl]",
         "evaluator.objective.every=2", "checkpoint.every=2"]  # fmt: skip


def test_more_is_better_of_some_metrics() -> None:
    assert all(rises(name) for name in ("valid/elbo", "valid/probe_accuracy", "valid/precision_mnist", "valid/psnr"))
    falling = ("valid/loss", "valid/quick_fid", "valid/nll", "valid/negative_log_likelihood")
    assert not any(rises(name) for name in falling)
    ranking = Ranking("valid/elbo", 3)
    for step, value in ((1, -9.0), (2, -7.0), (3, -7.0), (4, float("nan"))):
        ranking.note(step, {"valid/elbo": value})
    assert ranking.best == {"metric": "valid/elbo", "value": -7.0, "step": 2}
    assert [ranking.exhausted(step) for step in (2, 4, 5, 6)] == [False, False, True, True]
    ranking.restore({"metric": "valid/loss", "value": 1.0, "step": 1})  # the run was ranked by another one before
    assert ranking.best is None


def test_patience_needs_a_metric() -> None:
    with pytest.raises(ConfigError, match=r"checkpoint\.best=valid/loss"):
        Ranking(None, 5)
    assert not Ranking(None, None).exhausted(100)


def test_a_run_ends_when_its_patience_is_over_with_its_final_evaluations(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("vae", *FROZEN)
    recorder, saved = fit(trainer)
    assert (trainer.step, trainer.ended) == (8, True)
    assert [step for step, split, values in recorder.records if "accuracy" in values] == [8]
    assert max(saved) == 8
    assert saved[8][1]["best"]["step"] == 2


def test_a_run_that_is_stopped_ends_at_the_same_step(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    whole, records = trained(lambda: make_trainer("vae", *FROZEN), tmp_path / "whole")
    parts, resumed = trained(lambda: make_trainer("vae", *FROZEN), tmp_path / "parts", stops=(1, 5, 7))
    assert (parts.step, resumed) == (whole.step, records)
    assert same(parts.tensors, whole.tensors)
    over = make_trainer("vae", *FROZEN)
    over.restore(whole.tensors, whole.state)
    assert over.ended
    longer = make_trainer("vae", *FROZEN, "trainer.patience=null")
    longer.restore(whole.tensors, whole.state)
    assert not longer.ended


def test_the_best_checkpoint_is_kept_and_evaluated(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fresh / "a"
    # the loss is least at some step that only --checkpoint best can reach; the ELBO is its negative
    words = ["optimizer=sgd", "optimizer.lr=1e-3", "trainer.steps=20", "checkpoint.best=valid/elbo"]
    assert main.main([*TRAIN, *words, "optimizer.lr=1e-30", f"hydra.run.dir={run}"]) == 0
    assert Checkpoints(run / "ckpt").steps() == [2, 18, 20]
    record: dict[str, Any] = json.loads((run / "run.json").read_text())
    assert record["best"] == {"metric": "valid/elbo", "value": record["best"]["value"], "step": 2}
    assert main.main(["eval", str(run), "split=valid", "--checkpoint", "best"]) == 0
    [file] = (run / "eval").glob("*-00000002.json")
    assert json.loads(file.read_text())["metrics"]["elbo"] == pytest.approx(record["best"]["value"], rel=1e-6)
    assert main.main(["sample", str(run), "--checkpoint", "18"]) == 0
    capsys.readouterr()
    for which, expected in (("7", "no checkpoint of step 7"), ("first", "use newest, best or a step")):
        assert main.main(["eval", str(run), "--checkpoint", which]) in (2, 4)
        assert expected in capsys.readouterr().err


def test_a_best_checkpoint_that_was_not_kept_is_said_to_be_missing(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optimizer=sgd", "optimizer.lr=1e-30", "trainer.steps=12", f"hydra.run.dir={fresh / 'a'}"]
    assert main.main([*TRAIN, *words]) == 0
    assert main.main(["eval", str(fresh / "a"), "--checkpoint", "best"]) == 4
    assert "was not kept; --checkpoint best; train with checkpoint.best=true" in capsys.readouterr().err


def test_a_process_whose_time_is_over_saves_and_ends_well(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fresh / "a"
    assert main.main([*TRAIN, "trainer.steps=5", "trainer.max_time=0.001s", f"hydra.run.dir={run}"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["code"], record["step"]) == ("stopped", 0, 1)
    assert "trainer.max_time=0.001s is over at step 1 of 5; resume with: genlab resume" in capsys.readouterr().err
    assert main.main(["resume", str(run), "trainer.max_time=1.5h"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["step"]) == ("done", 5)
    for wrong in ("soon", "0s", "00.0h"):
        assert main.main([*TRAIN, f"trainer.max_time={wrong}"]) == 2

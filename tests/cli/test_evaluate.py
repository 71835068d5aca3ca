"""genlab eval: a result for each protocol, shown wherever a run is looked at."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genlab.cli import evaluate, main
from genlab.runs.evaluations import images
from genlab.runs.run_folder import RunFolder
from tests.support.commands import SMALL_VAE, Refused, said

TRAIN = ["train", *SMALL_VAE, "trainer.batch_size=16", "trainer.log_every=1", "checkpoint.every=2",
         "evaluator=objective", "logger=[jsonl,tensorboard]"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A VAE of four steps."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("trained")
        patch.chdir(root)
        patch.setenv("GENLAB_CACHE", str(cache))
        assert main.main([*TRAIN, "trainer.steps=4", "hydra.run.dir=outputs/a"]) == 0
    return root / "outputs" / "a"


@pytest.fixture
def run(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    shutil.copytree(trained, tmp_path / "outputs" / "a")
    capsys.readouterr()
    return tmp_path / "outputs" / "a"


def results(run: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((run / "eval").glob("*.json"))}


def listed(run: Path) -> list[str]:
    """What run.json lists."""
    return [each["file"].removesuffix(".json") for each in json.loads((run / "run.json").read_text())["evaluations"]]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_result_has_its_protocol(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genlab.workflows.build import load

    path, title, *_ = said(capsys, "eval", "last").splitlines()
    assert path == "outputs/a/eval/objective-test-00000004.json"
    assert title == "objective on test"
    result = results(run)["objective-test-00000004"]
    count = len(load("last").data().split("test"))
    assert result["protocol"].items() >= {
        "evaluator": "objective", "options": {}, "split": "test", "count": count, "seed": 0, "weights": "raw",
        "step": 4, "batch_size": 500,
    }.items()  # fmt: skip
    tensors = run / "ckpt" / "step-00000004" / "tensors.safetensors"
    assert result["protocol"]["checkpoint_sha256"] == hashlib.sha256(tensors.read_bytes()).hexdigest()
    metrics = result["metrics"]
    assert metrics["loss"] == pytest.approx(-metrics["elbo"])
    assert math.isclose(metrics["reconstruction"] + metrics["kl"], metrics["loss"], rel_tol=1e-5)


def test_no_protocol_overwrites_another(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands: list[list[str]] = [
        [], ["split=valid"], ["seed=5"], ["evaluator.objective.batch_size=50"], ["name=mine"],
        ["evaluator.objective.batch_size=50", "split=valid", "seed=5"],
        ["evaluator=samples", "evaluator.samples.n=4"], ["evaluator=samples"], ["evaluator=[sharpness,samples]"],
    ]  # fmt: skip
    for words in commands:
        said(capsys, "eval", "last", *words)
    kept = results(run)
    assert sorted(kept) == sorted([
        "objective-test-00000004", "objective-valid-00000004", "objective-test-seed5-00000004",
        "objective-test-batch_size50-00000004", "mine-test-00000004", "objective-valid-batch_size50-seed5-00000004",
        "samples-n4-00000004", "samples-00000004", "sharpness-test-00000004",
    ])  # fmt: skip
    assert (run / "eval" / "samples-n4-00000004-samples.png").is_file()
    said(capsys, "resume", "last", "trainer.steps=6")
    said(capsys, "eval", "last")
    assert {name: result for name, result in results(run).items() if name in kept} == kept
    assert len(results(run)) == len(kept) + 1
    assert sorted(listed(run)) == sorted(results(run))
    assert listed(run)[0] == "objective-test-00000006"


def test_repeats_are_the_mean_and_deviation_of_several_seeds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "eval", "last", "evaluator=sharpness", "repeats=3")
    for seed in range(3):
        said(capsys, "eval", "last", "evaluator=sharpness", f"seed={seed}")
    kept = results(run)
    together = kept.pop("sharpness-test-repeats3-00000004")
    assert together["protocol"]["repeats"] == 3
    each = [result["metrics"]["samples/edges"] for result in kept.values()]
    assert len(set(each)) == 3
    assert together["metrics"]["samples/edges"] == pytest.approx(statistics.fmean(each))
    assert together["metrics"]["samples/edges_seed_sd"] == pytest.approx(statistics.stdev(each))
    assert together["metrics"]["real_edges_seed_sd"] == 0
    report = (run / "report.html").read_text()
    assert "sharpness" in report
    assert "seed_sd" not in report  # it is the error bar of a number


def test_the_same_protocol_replaces_its_own_result(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "eval" / "objective-test-00000004.json"
    said(capsys, "eval", "last")
    first = path.read_bytes()
    with path.open("rb") as reader:  # replaced at once, not rewritten
        said(capsys, "eval", "last")
        assert reader.read() == first
    assert path.read_bytes() == first
    assert listed(run) == ["objective-test-00000004"]


def test_a_name_is_for_one_protocol(run: Path, capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    said(capsys, "eval", "last", "name=mine", "seed=1")
    assert "taken by a result of other seed" in refused("eval", "last", "name=mine")


def test_results_are_shown_everywhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "eval", "last")
    said(capsys, "eval", "last", "evaluator.objective.batch_size=50", "seed=5")
    loss = {name: result["metrics"]["loss"] for name, result in results(run).items()}
    record = json.loads((run / "run.json").read_text())
    assert [each["metrics"]["loss"] for each in record["evaluations"]] == list(loss.values())
    page = (run / "report.html").read_text()
    assert "Evaluations" in page
    assert all(f"loss: {value:.5g}" in page for value in loss.values())
    assert "batch_size=50" in page
    shown = scalars(run / "eval")
    assert shown["test/loss"] == [(4, pytest.approx(loss["objective-test-00000004"]))]
    assert [step for step, _ in shown["test-batch_size50-seed5/loss"]] == [4]
    row = said(capsys, "runs").splitlines()[1].split()
    assert row[6:9] == ["test/loss", f"{loss['objective-test-00000004']:.4g}", "+1"]


def test_images_are_shown_beside_the_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "eval", "last", "evaluator=[sharpness,samples]", "evaluator.samples.n=4")
    events = EventAccumulator(str(run / "eval")).Reload()
    assert events.Tags()["images"] == ["train-n4/samples"]
    png = (run / "eval" / "samples-n4-00000004-samples.png").read_bytes()
    assert events.Images("train-n4/samples")[0].encoded_image_string == png
    page = (run / "report.html").read_text()
    assert base64.b64encode(png).decode() in page
    assert "samples of samples-n4" in page
    (run / "eval" / "samples-n4-00000002-samples.png").write_bytes(png)
    assert [(title, step) for title, step, _ in images(run)] == [("samples of samples-n4", 4)]
    shutil.rmtree(run / "eval")
    (run / "eval").symlink_to(run)
    assert images(run) == []


def test_a_run_is_resumed_as_if_it_had_not_been_evaluated(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    said(capsys, "eval", str(run))
    for path in (run, whole):
        shutil.rmtree(path / "ckpt" / "step-00000004")  # the evaluated checkpoint is lost: resumed before it
        said(capsys, "resume", str(path), "trainer.steps=6")
    rows = [[{**json.loads(line), "time": 0, "images_per_second": 0} for line in
             (path / "metrics.jsonl").read_text().splitlines()] for path in (run, whole)]  # fmt: skip
    assert rows[0] == rows[1]
    curves = [{tag: points for tag, points in scalars(path).items() if "per_second" not in tag}
              for path in (run, whole)]  # fmt: skip
    assert curves[0] == curves[1]
    assert listed(run) == ["objective-test-00000004"]
    assert "Evaluations" in (run / "report.html").read_text()


def test_a_result_of_a_run_in_training_is_listed_when_that_ends(
    run: Path, capsys: pytest.CaptureFixture[str], holder: None
) -> None:
    before = (run / "run.json").read_bytes()
    assert main.main(["eval", str(run)]) == 0
    assert "the run is in use" in capsys.readouterr().err
    assert (run / "run.json").read_bytes() == before
    assert "test/loss" in scalars(run / "eval")


def test_the_end_of_training_lists_what_was_measured_meanwhile(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from genlab.engine.trainer import Trainer

    fit = Trainer.fit

    def measured_meanwhile(self: Trainer, *arguments: Any) -> dict[str, float]:
        metrics = fit(self, *arguments)
        assert main.main(["eval", str(run)]) == 0
        return metrics

    monkeypatch.setattr(Trainer, "fit", measured_meanwhile)
    said(capsys, "resume", str(run), "trainer.steps=5")
    assert listed(run) == list(results(run)) != []
    assert "Evaluations" in (run / "report.html").read_text()


@pytest.fixture
def holder(run: Path) -> Iterator[None]:
    """The run folder is in use."""
    folder = RunFolder.open(run)
    yield
    folder.release()


def test_a_read_only_run_is_refused_before_anything_is_computed(
    run: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genlab.engine import evaluate as engine

    access = os.access
    monkeypatch.setattr(engine, "evaluate", None)
    for folder in (run, run / "eval"):
        folder.mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "access", lambda path, mode, f=folder, **_: path != f and access(path, mode))
            line = refused("eval", str(run))
        assert line == (
            f"the result cannot be written (the folder is read-only); {folder}; copy the run, or allow access to it"
        )


def test_results_before_an_error_are_kept(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluator=[objective,fid]", "evaluator.fid.extractor=pixels", "evaluator.fid.images=20"]
    assert main.main(["eval", "last", *words]) == 2
    assert "are too few" in capsys.readouterr().err
    assert listed(run) == ["objective-test-00000004"]


def test_a_result_that_nobody_reads_is_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "show", interrupted)
    assert main.main(["eval", "last"]) == 130
    assert listed(run) == ["objective-test-00000004"]


def test_a_number_that_is_not_finite_is_written_as_null(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from genlab.engine import evaluate as engine

    monkeypatch.setattr(engine, "evaluate", lambda *_: [("loss", math.nan), ("elbo", -math.inf), ("kl", 1.0)])
    assert said(capsys, "eval", "last").count("not finite") == 2
    assert results(run)["objective-test-00000004"]["metrics"] == {"loss": None, "elbo": None, "kl": 1.0}
    assert "test/loss not finite" in said(capsys, "runs")


def test_figures_of_samples_are_measured_with_three_seeds_by_default(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluator=prdc", "evaluator.prdc.extractor=pixels", "evaluator.prdc.images=40", "evaluator.prdc.k=2"]
    said(capsys, "eval", "last", *words)
    said(capsys, "eval", "last", *words, "repeats=1")
    three, one = (next(result for name, result in results(run).items() if ("repeats1" in name) is once)
                  for once in (False, True))  # fmt: skip
    assert three["protocol"]["repeats"] == 3
    assert "repeats" not in one["protocol"]
    assert set(three["metrics"]) - set(one["metrics"]) == {f"{name}_seed_sd" for name in one["metrics"]}


def test_a_run_that_is_training_says_which_checkpoint_is_used(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = RunFolder.open(run)
    held.update(status="running")
    assert main.main(["eval", str(run)]) == 0
    assert "the run is training now; its newest checkpoint, of step 4, is used" in capsys.readouterr().err
    shutil.rmtree(run / "ckpt")
    assert main.main(["eval", str(run)]) == 4
    assert "wait for its first checkpoint" in capsys.readouterr().err
    held.release()
    assert main.main(["eval", str(run)]) == 4
    assert "genlab resume" in capsys.readouterr().err


def test_a_number_that_some_seeds_lack_or_have_not_finite(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from genlab.engine import evaluate as engine

    found = iter([[("loss", 1.0), ("bad", math.inf), ("rare", 5.0)], [("loss", 3.0), ("bad", 1.0)]])
    monkeypatch.setattr(engine, "evaluate", lambda *_: next(found))
    said(capsys, "eval", "last", "repeats=2")
    metrics = results(run)["objective-test-repeats2-00000004"]["metrics"]
    assert metrics.pop("loss_seed_sd") == pytest.approx(2**0.5)
    assert metrics == {"loss": 2.0, "bad": None, "bad_seed_sd": None, "rare": 5.0}


def test_eval_takes_evaluators_as_training_does(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluator=[objective,samples]", "evaluator.samples.n=9", "evaluator.objective.batch_size=30"]
    said(capsys, *TRAIN, *words, "trainer.steps=2", "hydra.run.dir=outputs/several")
    said(capsys, "eval", "several", "evaluator=[objective,samples]", "evaluator.samples.n=4")
    protocols = {name: result["protocol"] for name, result in results(run.parent / "several").items()}
    assert protocols["samples-n4-00000002"]["n"] == 4
    assert protocols["objective-test-batch_size30-00000002"]["batch_size"] == 30  # as the run was configured
    said(capsys, "eval", "several", "evaluator=default")  # those of the list that apply
    names = {name.partition("-")[0] for name in results(run.parent / "several")}
    assert "reconstructions" in names
    assert "codebook" not in names


def test_a_record_that_lists_strange_results_is_damaged(run: Path, refused: Refused) -> None:
    record = json.loads((run / "run.json").read_text())
    for strange in ([3], [{"file": "x", "metrics": {"a": "b"}, "protocol": {}}], {"a": 1}):
        (run / "run.json").write_text(json.dumps({**record, "evaluations": strange}))
        assert "run.json is invalid" in refused("eval", str(run), code=4)

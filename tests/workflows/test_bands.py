from __future__ import annotations

from pathlib import Path

import pytest

import genlab
from genlab.config.compose import search_path
from genlab.errors import ConfigError
from genlab.reports.report import closing_table
from genlab.runs import bands, run_folder
from genlab.runs.metrics_file import records
from genlab.utils.own_folder import OwnFolder
from genlab.workflows.bands import from_runs, judged, of, training_keys
from genlab.workflows.reproduce.matching import configuration
from scripts.make_band import main

FILES = list(bands.shipped())
SHORT = ["trainer.steps=2", "trainer.log_every=1", "trainer.epochs=null", "trainer.device=cpu", "logger=jsonl"]


def quick(folder: Path, *words: str) -> Path:
    genlab.train(["experiment=quick", "trainer.device=cpu", "trainer.threads=1", *words, f"hydra.run.dir={folder}"])
    return folder


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_band_belongs_to_an_experiment_whose_configuration_has_stayed(file: Path) -> None:
    band = bands.read(file)
    assert band.experiment == file.stem
    assert (search_path() / "experiment" / f"{file.stem}.yaml").is_file()
    config = configuration((f"experiment={file.stem}",))
    assert of({**config, "seed": 77}) == band
    assert file.stat().st_size < 20_000


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_the_curves_of_a_band_are_metrics_of_its_experiment(file: Path, real_data: Path, tmp_path: Path) -> None:
    genlab.train([f"experiment={file.stem}", *SHORT, f"hydra.run.dir={tmp_path / 'run'}"])
    logged = {f"{record['split']}/{name}" for _, record in records(OwnFolder(tmp_path / "run")) for name in record}
    assert set(bands.read(file).curves) <= logged


def test_seed_logging_and_machine_may_differ_and_what_training_depends_on_may_not() -> None:
    base = configuration(("experiment=quick",))
    free = ("seed=5", "logger=quiet", "evaluator=none", "checkpoint.every=7", "trainer.threads=2", "name=mine",
            "trainer.precision=fp32")  # fmt: skip
    same = configuration(("experiment=quick", *free))
    assert training_keys(base) == training_keys(same)
    assert of(same)
    for word in ("optimizer.lr=0.01", "trainer.steps=200", "model.latent_dim=3", "dataset.valid=100"):
        assert of(configuration(("experiment=quick", word))) is None


def test_a_run_of_an_experiment_says_in_record_report_and_terminal_that_it_is_inside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = quick(tmp_path / "run", "seed=31")
    record = run_folder.read_record(run)
    line = f"inside the band of {record['band']['runs']} runs of experiment=quick"
    assert bands.words(record["band"]) == line
    said = capsys.readouterr().out
    assert f"/100  {line}" in said  # while it trains
    closing_table(run, record)
    assert line in capsys.readouterr().out
    assert line in (run / "report.html").read_text()


def test_another_configuration_says_nothing_and_its_curves_are_outside(tmp_path: Path) -> None:
    run = quick(tmp_path / "run", "optimizer.lr=0.05")
    assert run_folder.read_record(run)["band"] is None
    assert "band" not in (run / "report.html").read_text()
    (file,) = (file for file in FILES if file.stem == "quick")
    assert judged(bands.read(file), run).excursions


def test_the_script_makes_a_band_of_finished_runs_that_differ_in_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [quick(tmp_path / f"run{seed}", f"seed={seed}", "logger=jsonl") for seed in range(3)]
    assert main(["quick", *map(str, runs), "--out", str(tmp_path / "bands")]) == 0
    band = bands.read(tmp_path / "bands" / "quick.json")
    assert band.runs == 3
    assert {"train/loss", "valid/active_units"} <= set(band.curves)
    assert "of 3 runs are outside the band of the others" in capsys.readouterr().out
    assert main(["ring", *map(str, runs), "--dry"]) == 2
    assert "differs from experiment=ring" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="its own seed"):
        from_runs("quick", [runs[0], runs[0]])

"""How a newcomer finds things: lists, `info` without a group, hints, what a sweep's folder is called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.config.yaml_comments import options
from genlab.sweep.ledger import final_metric
from genlab.sweep.plan import plan
from tests.support.commands import said
from tests.support.written_runs import write_run

CONFIGS = Path(__file__).parents[2] / "configs"


def test_info_finds_the_group_of_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "info", "vae") == said(capsys, "info", "model=vae")
    assert "also: genlab info dataset=dirac" in said(capsys, "info", "dirac")


def test_a_run_may_have_an_equals_sign_in_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("outputs/s/0-seed=1")
    assert main.main(["info", "outputs/s/0-seed=1"]) == 4  # it has no checkpoint: it was taken for a run
    assert "does not say" not in capsys.readouterr().err


@pytest.mark.parametrize("model", ["gan", "vae", "flow_matching", "stylegan2", "vqvae", "classifier"])
def test_info_fits_a_terminal_and_holds_no_notes_for_developers(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "info", f"model={model}")
    assert max(len(line) for line in text.splitlines() if " " in line.strip()) <= 80
    assert not re.search(r"genlab/\w+/|\w\.py\b|subclass", text)


def test_info_as_json_has_every_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    found = {each["parameter"]: each for each in json.loads(said(capsys, "info", "vae", "--json"))}
    assert found["model.latent_dim"] | {"value": ""} == {
        "parameter": "model.latent_dim", "value": "", "allowed": "integer > 0", "meaning": "dimensions of a code z",
    }  # fmt: skip


def test_models_are_listed_by_family(capsys: pytest.CaptureFixture[str]) -> None:
    found = {each["name"]: each["family"] for each in json.loads(said(capsys, "list", "models", "--json"))}
    assert found.keys() == options("model", [CONFIGS]).keys()
    assert [found[name] for name in ("pca", "vae", "dcgan", "flow_matching")] == [
        "classical", "autoencoders", "gans", "flows",
    ]  # fmt: skip
    assert "models: gans" in said(capsys, "list", "models")


def test_list_searches_names_and_descriptions(capsys: pytest.CaptureFixture[str]) -> None:
    names = {each["name"] for each in json.loads(said(capsys, "list", "Wasserstein", "--json"))}
    assert {"wgan", "wgan_gp"} <= names
    assert "vae" not in names
    assert main.main(["list", "nonsuch"]) == 2


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["train", "model.network.activation=Relu"], "did you mean 'relu'?"),
        (["train", "evaluator=FID"], "did you mean 'fid'?"),
        (["train", "dataset.seed=3"], "did you mean 'seed' or 'dataset.split_seed'?"),
        (["train", "model.seed=3"], "did you mean 'seed'?"),
    ],
)
def test_hints(words: list[str], hint: str, refused: Callable[..., str]) -> None:
    assert hint in refused(*words)


@pytest.mark.parametrize("command", ["sample", "eval", "info", "resume"])
def test_a_sweep_in_place_of_a_run_is_called_a_sweep(command: str, refused: Callable[..., str]) -> None:
    write_run("outputs/s/0-seed=1")
    Path("outputs/s/sweep.json").write_text("{}")
    for name in ("s", "outputs/s"):
        assert f"'{name}' is a sweep; this takes one of its runs; name one of them, e.g. outputs/s/0-seed=1" in refused(
            command, name
        )


def test_the_folders_of_a_sweep_name_what_varies() -> None:
    jobs = plan(["seed=1", "model.beta=1,4", "model.network.hidden=[8],[8,4]"]).jobs
    assert [job.folder(index) for index, job in enumerate(jobs)] == [
        "0-beta=1-hidden=_8_", "1-beta=1-hidden=_8_4_", "2-beta=4-hidden=_8_", "3-beta=4-hidden=_8_4_",
    ]  # fmt: skip
    assert plan(["name=" + "a" * 300 + ",../b"]).jobs[1].folder(1) == "1-name=.._b"


def test_the_metric_of_a_gan_is_no_loss_of_one_network() -> None:
    losses = {"valid/generator/loss": 1.0, "valid/discriminator/loss": 2.0}
    assert final_metric({"metrics": losses}) is None
    assert final_metric({"metrics": losses | {"valid/sample_distance": 0.5}}) == ("valid/sample_distance", 0.5)


def test_a_quiet_run_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "logger=quiet", "experiment=quick", "trainer.steps=2", "evaluator=none", "--device", "cpu"]
    assert main.main(words) == 0
    assert capsys.readouterr() == ("", "")
    assert list(Path("outputs").glob("*/*/report.html"))

"""Composition: what wins over what, private folders, plug-ins, stored configurations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from genlab.cli import main
from genlab.config import compose, overrides, yaml_comments
from genlab.config.yaml_comments import missing
from genlab.errors import ConfigError
from genlab.registry import discover
from genlab.sweep.plan import plan

OPTIONS = [(group, name) for group, names in overrides.groups([compose.search_path()]).items() for name in names]


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_every_option_composes_and_is_right(group: str, name: str) -> None:
    discover()
    if group == "sweep":
        assert len(plan([f"sweep={name}"], []).jobs) > 1
        return
    words = [f"{group}={name}"]
    if group == "recipe":  # numbers of a pair, which fit no other model
        model, group, name = name.split("-")[0], "dataset", name.split("-")[1]
        words = [f"model={model}", f"dataset={name}"]
    folders = [compose.search_path()]
    words += [f"{group}.{key}=x" for key in missing(folders[0] / group / f"{name}.yaml", folders)]
    compose.check(compose.compose(words).config)


def test_a_tilde_is_the_home_folder_with_or_without_quotes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in (["hydra.run.dir=~/x", "dataset.root=~/data"], ["hydra.run.dir='~/x'", "dataset.root='~/data'"]):
        composed = compose.compose(["dataset=mnist", *words])
        assert composed.run_dir == tmp_path / "x"
        assert composed.config["dataset"]["root"] == str(tmp_path / "data")
    assert compose.compose(["dataset=mnist", "dataset.root=/a~1/b"]).config["dataset"]["root"] == "/a~1/b"
    with pytest.raises(ConfigError, match="quotes, brackets or '~'"):
        compose.compose(["dataset=mnist", "dataset.root=~/a b,c"])


def test_a_key_without_a_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"missing value for 'dataset\.root'; key dataset\.root; give dataset\.root="):
        compose.compose(["dataset=folder"])
    assert compose.compose(["dataset=folder", "dataset.root=/x"]).config["dataset"]["root"] == "/x"


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_every_file_says_what_it_is(group: str, name: str) -> None:
    from genlab.config.yaml_comments import first_comment

    text = first_comment(compose.search_path() / group / f"{name}.yaml")
    assert 10 < len(text) < 140


def test_defaults() -> None:
    composed = compose.compose([])
    assert composed.config["model"]["name"] == "vae"
    assert composed.config["dataset"]["name"] == "digits"
    assert composed.run_dir is None
    assert composed.default_dir.parts[:2] == ("outputs", "vae-digits")
    assert composed.sweep_dir.parts[:2] == ("outputs", "sweeps")
    assert "hydra" not in composed.config


def test_a_network_takes_keys_that_its_models_file_does_not_name() -> None:
    discover()
    composed = compose.compose(["model=cgan", "model.generator.hidden=[8]"]).config
    compose.check(composed)
    assert composed["model"]["generator"] == {"name": "dcgan_generator", "base_channels": 64, "hidden": [8]}


@pytest.mark.parametrize(
    ("words", "bare", "mapping"),
    [
        (["model=dcgan"], "model.augment=ada", "model.augment={name: ada}"),
        (["model=vae"], "model.beta_schedule=linear", "model.beta_schedule={name: linear}"),
        (["model=cyclegan", "dataset=unpaired"], "dataset.base=mnist", "dataset.base={name: mnist}"),
    ],
)
def test_a_bare_name_is_stored_as_the_mapping_that_it_stands_for(words: list[str], bare: str, mapping: str) -> None:
    first, second = (plan([*words, word], []).jobs[0] for word in (bare, mapping))
    section, key = bare.partition("=")[0].split(".")
    assert first.composed.config[section][key] == {"name": bare.partition("=")[2]}
    assert (first.composed.config, first.key) == (second.composed.config, second.key)


def test_a_bare_name_is_refused_where_another_key_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"missing value for 'model\.decoder\.channels'"):
        plan(["model=vae", "model.decoder=conv"], [])


CONV = {"name": "conv", "channels": [8]}
MLP = {"name": "mlp", "hidden": [400], "activation": "relu"}  # of configs/model/vae.yaml


@pytest.mark.parametrize(
    ("words", "network"),
    [
        (["model.network={name: conv, channels: [8]}"], CONV),
        (["model.network=conv", "model.network.channels=[8]"], CONV),
        (["model.network.channels=[8]", "model.network.name=conv"], CONV),
        (["model.network=mlp"], MLP),
        (["model.network={name: mlp, activation: tanh}"], MLP | {"activation": "tanh"}),
        (["model.network.hidden=[8]"], MLP | {"hidden": [8]}),
    ],
)
def test_naming_another_network_drops_the_keys_of_the_old_one(words: list[str], network: dict[str, object]) -> None:
    job = plan(["model=vae", "recipe=null", "dataset=mnist", *words, "seed=0,1"], []).jobs[1]
    assert job.composed.config["model"]["network"] == network


def test_a_spec_that_is_null_or_a_bare_name_takes_keys() -> None:
    words = ["model=dcgan", "model.augment.name=ada", "model.augment.kimg=50", "+model.extra=conv"]
    config = compose.compose([*words, "+evaluator.mine.name=x"]).config
    assert config["model"]["augment"] == {"name": "ada", "kimg": 50}
    assert compose.compose(["model.beta_schedule.warmup=0.1"]).config["model"]["beta_schedule"] == {
        "name": "constant", "warmup": 0.1
    }  # fmt: skip


@pytest.mark.parametrize("model", ["pix2pix", "cyclegan", "cyclegan_unet"])
def test_translation_takes_a_picture_a_step_whatever_the_data(model: str) -> None:
    for dataset in ("facades", "paired", "unpaired", "colorize"):
        words = [f"model={model}", f"dataset={dataset}", *(["dataset.root=pairs"] if dataset == "paired" else [])]
        assert compose.compose(words).config["trainer"]["batch_size"] == 1
    assert compose.compose([f"model={model}", "trainer.batch_size=8"]).config["trainer"]["batch_size"] == 8


def test_the_command_line_wins_over_model_recipe_and_experiment() -> None:
    assert compose.compose(["model=dcgan"]).config["optimizer"]["betas"] == [0.5, 0.999]
    assert compose.compose(["model=dcgan", "optimizer=sgd"]).config["optimizer"]["name"] == "sgd"
    assert compose.compose(["model=dcgan", "optimizer.lr=0.5"]).config["optimizer"]["lr"] == 0.5
    assert compose.compose([]).config["model"]["latent_dim"] != 20  # recipe vae-digits
    assert compose.compose(["recipe=null"]).config["model"]["latent_dim"] == 20
    assert compose.compose(["model.latent_dim=3"]).config["model"]["latent_dim"] == 3
    assert compose.compose(["experiment=quick", "trainer.steps=7"]).config["trainer"]["steps"] == 7


def test_a_file_whose_name_begins_with_an_underscore_is_a_base_and_cannot_be_chosen(tmp_path: Path) -> None:
    folder = compose.search_path()
    assert "_gan" not in yaml_comments.options("model", [folder])
    with pytest.raises(ConfigError, match=r"unknown model '_gan'.*did you mean 'gan'"):
        compose.compose(["model=_gan"])
    base, acgan = (yaml_comments.comments(folder / "model" / name, [folder]) for name in ("_gan.yaml", "acgan.yaml"))
    assert acgan["loss"] == base["loss"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "_mine.yaml").write_text("# Keys of my models\ndefaults: [dcgan, _self_]\nlatent_dim: 7\n")
    (tmp_path / "model" / "mine.yaml").write_text("# Mine\ndefaults: [_mine, _self_]\n")
    assert compose.compose(["model=mine"], [str(tmp_path)]).config["model"]["latent_dim"] == 7


def test_a_model_names_its_optimizer_and_whoever_comes_later_chooses_another(tmp_path: Path) -> None:
    for path, text in {
        "model/mine": "# Inherits the optimizer of dcgan\ndefaults: [dcgan, _self_]\nlatent_dim: 7\n",
        "model/own": "# Names its own\ndefaults: [mine, _self_]\noptimizer: sgd_dirac\nschedule: cosine\n",
        "experiment/other": "# @package _global_\ndefaults: [override /model: own, override /optimizer: adamw]\n",
        "experiment/key": "# @package _global_\ndefaults:\n  - override /model: own\noptimizer: {lr: 0.25}\n",
        "experiment/bad": "# @package _global_\nmodel: {optimizer: sgd}\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / f"{path}.yaml").write_text(text)

    def composed(*words: str) -> tuple[str, float, str]:
        config = compose.compose(words, [str(tmp_path)]).config
        assert not {"optimizer", "schedule", "trainer"} & config["model"].keys()
        return config["optimizer"]["name"], config["optimizer"]["lr"], config["schedule"]["name"]

    assert composed("model=mine") == ("adam", 2e-4, "constant")
    assert composed("model=own") == ("sgd", 0.1, "cosine")
    assert composed("experiment=other") == ("adamw", 1e-3, "cosine")
    assert composed("experiment=key") == ("sgd", 0.25, "cosine")
    assert composed("experiment=key", "optimizer=adam", "schedule=linear") == ("adam", 0.25, "linear")
    assert composed("experiment=other", "optimizer.lr=0.5") == ("adamw", 0.5, "cosine")
    jobs = plan(["model=vae,own,wgan"], [str(tmp_path)]).jobs
    assert [job.composed.config["optimizer"]["name"] for job in jobs] == ["adam", "sgd", "rmsprop"]
    with pytest.raises(ConfigError, match="choose it with optimizer=NAME"):
        composed("model.optimizer=sgd")
    with pytest.raises(ConfigError, match=r"'model\.optimizer' can be set only in the file of a model"):
        composed("experiment=bad")


def test_the_last_of_two_equal_overrides_counts() -> None:
    composed = compose.compose(["seed=1", "model=dcgan", "model=vae", "seed=2"])
    assert composed.config["model"]["name"] == "vae"
    assert composed.config["seed"] == 2


def test_debug_overfit() -> None:
    composed = compose.compose(["debug=overfit", "experiment=quick"])
    assert composed.config["dataset"]["limit"] == 32
    assert composed.config["dataset"]["flip"] is False
    assert composed.config["trainer"]["steps"] == 400  # debug comes after experiment


def test_optional_groups_can_be_null() -> None:
    assert compose.compose(["experiment=null", "debug=null"]).config == compose.compose([]).config


def test_entries_can_be_turned_off_and_phases_added() -> None:
    settings = compose.compose(["evaluator.samples=null", "~logger.console", "optimizer.phases.model.lr=0.5"]).config
    assert settings["evaluator"]["samples"] is None
    assert "console" not in settings["logger"]
    assert settings["optimizer"]["phases"] == {"model": {"lr": 0.5}}
    discover()
    compose.check(settings)


def test_a_private_folder_adds_options(tmp_path: Path) -> None:
    folder = tmp_path / "it's mine (1)" / "model"
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text("# Mine\ndefaults: [vae]\nlatent_dim: 2\n")
    composed = compose.compose(["model=small", "recipe=null"], [str(folder.parent)])
    assert composed.config["model"]["latent_dim"] == 2
    assert composed.flags == ["--config-dir", str(folder.parent)]
    assert composed.default_dir.parts[1] == "small-digits"
    with pytest.raises(ConfigError, match="unknown model 'small'"):
        compose.compose(["model=small"])


def test_two_private_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / f"{name}.yaml").write_text("defaults: [vae]\n")
    compose.compose(["model=b"], [str(tmp_path / "a"), str(tmp_path / "b"), str(compose.search_path())])
    (tmp_path / "b" / "model" / "a.yaml").write_text("defaults: [dcgan]\n")
    with pytest.raises(ConfigError, match="another name"):
        compose.compose(["model=b"], [str(tmp_path / "a"), str(tmp_path / "b")])


def test_cfg_job_prints_what_would_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main.main(["train", "--cfg", "job", "seed=5", "optimizer.lr=3e-4"]) == 0
    out, err = capsys.readouterr()
    assert yaml.safe_load(out) == compose.compose(["seed=5", "optimizer.lr=3e-4"]).config
    assert err == ""
    assert list(tmp_path.iterdir()) == []


def test_plugins_and_the_device_are_flags() -> None:
    composed = compose.compose(["seed=3"], plugins=["json", "xml.dom"], device="cpu")
    assert (composed.plugins, composed.config["trainer"]["device"]) == (["json", "xml.dom"], "cpu")
    assert composed.words() == ["--plugin", "json", "--plugin", "xml.dom", "--device", "cpu", "seed=3"]


def test_a_stored_configuration_changed() -> None:
    stored = compose.compose([]).config
    changed = compose.override_stored(stored, ["trainer.steps=5", "optimizer.betas=[0.1,0.2]", "dataset.root='/a b'"])
    assert changed["trainer"]["steps"] == 5
    assert changed["optimizer"]["betas"] == [0.1, 0.2]
    assert changed["dataset"]["root"] == "/a b"
    assert stored["trainer"]["steps"] is None
    for bad in (
        "trainer.step=5",
        "model=dcgan",
        "+x=1",
        "~seed",
        "hydra.run.dir=x",
        "seed=${trainer.steps}",
        "seed.x=1",
        "x",
    ):
        with pytest.raises(ConfigError):
            compose.override_stored(stored, [bad])


def test_a_run_that_goes_on_can_leave_an_evaluator_out() -> None:
    stored = compose.compose(["model=vae"]).config
    name = next(iter(stored["evaluator"]))
    assert compose.override_stored(stored, [f"evaluator.{name}=null"])["evaluator"][name] is None
    with pytest.raises(ConfigError, match=rf"or switch one off: evaluator\.{name}=null"):
        compose.override_stored(stored, ["evaluator=none"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.regularizers=r1", r"use model\.regularizers\.r1=\{\}"),
        ("model.loss=wgan", "did you mean 'wasserstein'"),
        ("model.loss=bce", "did you mean 'non_saturating'"),
        ("model.loss=hing", "did you mean 'hinge'"),
    ],
)
def test_a_bare_or_common_name_is_answered_with_the_right_one(override: str, said: str) -> None:
    discover()
    with pytest.raises(ConfigError, match=said):
        compose.check(compose.compose(["model=gan", override]).config)


def test_global_state_of_hydra_is_left_alone() -> None:
    from hydra.core.global_hydra import GlobalHydra

    compose.compose([])
    with pytest.raises(ConfigError):
        compose.compose(["trainer.nope=1"])
    assert not GlobalHydra.instance().is_initialized()


def test_importing_config_is_light() -> None:
    code = "import sys, genlab.config.compose; print({'torch', 'hydra', 'omegaconf', 'rich'} & set(sys.modules))"
    path = str(Path(compose.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert done.stdout.strip() == "set()", done.stderr


def test_a_length_that_is_none_is_told_what_lengths_are() -> None:
    with pytest.raises(ConfigError, match=r"bad value \"5x\" for 'checkpoint.every'.*\"2ep\".*\"5%\""):
        compose.check(compose.compose(["checkpoint.every=5x"]).config)


def test_a_key_that_is_null_or_empty_takes_entries_by_their_dotted_keys() -> None:
    steps, solver = "evaluator.fid.sampling.steps=50", "evaluator.fid.sampling.solver=euler"
    config = compose.compose(["evaluator=fid", steps, solver]).config
    assert config["evaluator"]["fid"]["sampling"] == {"steps": 50, "solver": "euler"}
    with pytest.raises(ConfigError, match=r"unknown key 'seed\.x'"):
        compose.compose(["seed.x=2"])


def test_a_key_that_a_file_leaves_out_is_offered_with_a_plus_also_where_a_top_level_key_has_its_name() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'seed' or 'dataset.split_seed'\? '\+dataset.seed=...' gives"):
        compose.compose(["dataset.seed=2"])


def test_a_trainer_file_of_ones_own_may_leave_keys_out(tmp_path: Path) -> None:
    """As a stored configuration may: every key that is missing has its default."""
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text("# Mine\nsteps: 5\n")
    discover()
    composed = compose.compose(
        ["recipe=null", "trainer=mine", "trainer.batch_size=7"], [str(tmp_path)], device="cpu"
    ).config
    shipped = compose.compose(["recipe=null"], device="cpu").config
    assert composed["trainer"] == {**shipped["trainer"], "steps": 5, "batch_size": 7}
    bare = {**shipped, "trainer": {"device": "cpu"}, "checkpoint": {}}
    assert compose.check(bare) == compose.check(shipped)

"""Every YAML that ships composes and holds against its constructor, key for key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genlab.config import compose, overrides
from genlab.config.trainer_config import CheckpointConfig, TrainerConfig
from genlab.config.yaml_comments import missing
from genlab.registry import DATASETS, OPTIMIZERS, SCHEDULES, Registry, discover, signature_schema

discover()
ROOT = compose.search_path()
GROUPS = sorted(path.name for path in ROOT.iterdir() if path.is_dir())
FILES = [(group, path.stem) for group in GROUPS for path in sorted((ROOT / group).glob("[!_]*.yaml"))]
RUNS = [(group, option) for group, option in FILES if group != "sweep"]  # a study is several runs: tests/cli


def composed(*overrides: str) -> dict[str, Any]:
    return compose.compose(overrides).config


def required(group: str, option: str) -> list[str]:
    return [f"{group}.{key}=x" for key in missing(ROOT / group / f"{option}.yaml", [ROOT])]


@pytest.mark.parametrize(("group", "option"), RUNS)
def test_it_composes_and_holds(group: str, option: str) -> None:
    if group == "recipe":  # <model>-<dataset>.yaml is chosen by the pair itself
        model, dataset = option.split("-")
        settings = composed(f"model={model}", f"dataset={dataset}", *required("dataset", dataset))
    else:
        settings = composed(f"{group}={option}", *required(group, option))
    compose.check(settings)


@pytest.mark.parametrize(("group", "option"), FILES)
def test_its_first_comment_says_what_it_is(group: str, option: str) -> None:
    lines = (ROOT / group / f"{option}.yaml").read_text().splitlines()
    said = next(line for line in lines if line.startswith("#") and "@package" not in line)
    assert len(said) > 10


@pytest.mark.parametrize(
    ("group", "registry"), [("dataset", DATASETS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)]
)
def test_keys_are_the_constructors_parameters(group: str, registry: Registry) -> None:
    for path in (ROOT / group).glob("*.yaml"):
        section = composed(f"{group}={path.stem}", *required(group, path.stem))[group]
        extra = {"name", "phases"} if group == "optimizer" else {"name"}
        assert section.keys() - extra == registry.schema(section["name"]).model_fields.keys(), path.name


def test_trainer_and_checkpoint_keys_are_their_settings() -> None:
    settings = composed()
    assert settings["trainer"].keys() == signature_schema(TrainerConfig).model_fields.keys()
    assert settings["checkpoint"].keys() == signature_schema(CheckpointConfig).model_fields.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_experiment_states_its_command_and_is_obeyed(path: Path) -> None:
    text = path.read_text()
    assert f"experiment={path.stem}" in text
    given = overrides.flatten({k: v for k, v in yaml.safe_load(text).items() if k != "defaults"})
    reached = overrides.flatten(composed(f"experiment={path.stem}"))
    assert {key: reached[key] for key, value in given.items() if not isinstance(value, dict)} == {
        key: value for key, value in given.items() if not isinstance(value, dict)
    }


def test_an_experiment_may_set_root_keys() -> None:
    assert composed("experiment=quick")["checkpoint"]["every"] == 50
    assert composed("experiment=quick", "checkpoint.every=7")["checkpoint"]["every"] == 7


def test_a_model_brings_its_optimizer_and_the_command_line_wins() -> None:
    assert composed("model=dcgan")["optimizer"]["betas"] == [0.5, 0.999]
    assert composed("model=dcgan", "optimizer=adam")["optimizer"]["betas"] == [0.9, 0.999]
    assert composed("experiment=dcgan_mnist", "optimizer.lr=3e-4")["optimizer"]["lr"] == 3e-4


@pytest.mark.parametrize("model", ["flow_matching", "ddpm", "edm", "meanflow"])
def test_diffusion_and_flow_models_average_their_weights(model: str) -> None:
    assert composed(f"model={model}")["trainer"]["ema_decay"] == 0.999
    assert composed(f"model={model}", "trainer.ema_decay=0.9")["trainer"]["ema_decay"] == 0.9
    assert composed(f"model={model}", "trainer=default")["trainer"]["ema_decay"] is None


def test_pca_counts_the_images_once_unless_told_otherwise() -> None:
    assert composed("model=pca")["trainer"]["epochs"] == 1
    assert composed("experiment=pca_mnist")["trainer"]["epochs"] == 1
    assert composed("model=pca", "trainer.epochs=3")["trainer"]["epochs"] == 3

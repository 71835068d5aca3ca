"""What a command imports: nothing of torch to refuse one, nothing of torch's compiler or torchvision to train."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import genlab
from genlab import cli
from genlab.cli import main
from genlab.config import compose
from genlab.config.precheck import GROUPS, OPEN_GROUPS, known_specs
from genlab.errors import ConfigError
from genlab.registry import DATASETS, EVALUATORS, LOGGERS, MODELS, OPTIMIZERS, SCHEDULES, discover

REGISTRIES = {table.kind: table for table in (MODELS, DATASETS, SCHEDULES, OPTIMIZERS, EVALUATORS, LOGGERS)}
IN_YAML = [  # refused by what the YAML files and the settings show
    "+foo=1", "+model.foo=1", "++model.latnet_dim=3", "+trainer.foo=1", "++trainer.step=1", "+dataset.foo=1",
    "+schedule.foo=1", "+optimizer.foo=1", "+optimizer.phases.model.rl=1e-3", "optimizer.phases.model.rl=1e-3",
    "optimizer.phases.model.name=adm", "model.name=vea", "model.name=3", "model.name=null", "dataset.name=minst",
    "optimizer.name=adm", "schedule.name=cosin", "model.name=gan", "+evaluator.mine.name=nope",
    "+evaluator.samples.foo=1", "+logger.x={name:nope}", "+logger.jsonl.every=1", "logger.jsonl.name=null",
    "seed=-1", "seed=one", "dry_run=maybe", "trainer.steps=0", "trainer.steps=abc", "trainer.epochs=-1",
    "trainer.precision=fp8", "trainer.ema_decay=1", "checkpoint.every=5x", "checkpoint.keep=1",
    "evaluator=3", "+model.network._target_=os.system",
]  # fmt: skip
COMMANDS = [
    *(["train", override] for override in IN_YAML[::8]),
    ["train", "model=dcgn"], ["train", "trainer.stepz=3"], ["train", "seed=[1"], ["train", "hydra.launcher=x"],
    ["train", "-m", "seed=1,2", "trainer.steps=0"], ["train", "-m", "seed=1,2", "+model.foo=1"],
    ["prepare", "+dataset.foo=1"], ["info", "model=vae", "+model.foo=1"], ["info", "modle=vae"],
    ["sample", "nowhere"], ["sample", "nowhere", "m=3"], ["eval", "nowhere"], ["resume", "nowhere"],
    ["reconstruct", "last"], ["interpolate", "last", "mode=curve"], ["list", "modls"], ["runs", "nowhere"], ["trian"],
]  # fmt: skip
REFUSING = """
import json, sys
sys.modules["torch"] = None
from genlab.cli import main
print([main.main(command) for command in json.loads(sys.argv[1])])
"""
HELP = """
import sys
sys.modules["torch"] = None
from genlab.cli import COMMANDS, load_command
print(*[name for name in COMMANDS if load_command(name).parser().format_help()])
"""
TRAINING = """
import sys
from genlab.cli import main
small = ["trainer.steps=2", "trainer.batch_size=8", "trainer.grad_clip=1", "trainer.ema_decay=0.9"]
gan = ["dcgan", "model.generator.base_channels=8", "model.discriminator.base_channels=8"]
for model in (["vae"], ["autoencoder"], gan):
    assert main.main(["train", "model=" + model[0], *model[1:], *small]) == 0
import torch
from genlab.core.eager import eager
heavy = {"torchvision", "torch._dynamo", "torch._inductor", "sympy", "sklearn", "scipy", "matplotlib"}
known = eager(torch.optim.Adam) is not torch.optim.Adam
print("\\n", known, *sorted(heavy & set(sys.modules)))
"""


def fresh(code: str, *arguments: str) -> tuple[str, list[str]]:
    """A new interpreter's last line of output, and its lines on stderr."""
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(Path(genlab.__file__).parents[1])!r});{code}",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], done.stderr.splitlines()


def test_no_command_needs_torch_to_show_its_help() -> None:
    shown, _ = fresh(HELP)
    assert shown.split() == list(cli.COMMANDS)


def test_commands_are_refused_without_torch() -> None:
    codes, said = fresh(REFUSING, json.dumps(COMMANDS))
    assert json.loads(codes) == [2] * len(COMMANDS), said


@pytest.mark.parametrize("override", IN_YAML)
def test_what_is_refused_early_is_refused_in_the_same_words(override: str) -> None:
    discover()
    try:
        composed = compose.compose([override]).config
    except ConfigError:
        return  # refused by composition itself, the earliest of all
    with pytest.raises(ConfigError) as early:
        compose.precheck(composed)
    with pytest.raises(ConfigError) as full:
        compose.check(composed)
    assert str(early.value) == str(full.value)


@pytest.mark.parametrize("group", [*GROUPS, *OPEN_GROUPS])
def test_the_yaml_files_show_every_registered_name_and_its_keys(group: str) -> None:
    discover()
    table = REGISTRIES[group]
    ours = [name for name in table.names() if table.get(name).__module__.startswith("genlab.")]
    assert known_specs(compose.search_path(), group) == {name: set(table.schema(name).model_fields) for name in ours}


def test_names_that_a_plug_in_may_bring_are_left_to_the_full_check(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: dict[str, Any] = compose.compose(["model.name=theirs"]).config
    compose.precheck(composed, ["theirs"])
    monkeypatch.setattr("genlab.config.precheck.entry_points", lambda group: [group])
    compose.precheck(composed)
    composed["model"] = {"name": "vae", "foo": 1}
    with pytest.raises(ConfigError, match=r"unknown key 'model\.foo'"):  # no plug-in changes a model of ours
        compose.precheck(composed)


def test_a_run_of_a_plug_ins_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_models.py").write_text(
        "from genlab.models.autoencoders.vae import VAE\n"
        "from genlab.registry import MODELS\n\n"
        "@MODELS('theirs')\n"
        "class Theirs(VAE):\n"
        "    def __init__(self, latent_dim: int, image_shape: tuple[int, int, int] = (1, 8, 8)) -> None:\n"
        "        network = {'name': 'mlp', 'hidden': [8]}\n"
        "        super().__init__(image_shape=image_shape, latent_dim=latent_dim, network=network)\n"
    )
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "theirs.yaml").write_text("# Theirs\nname: theirs\nlatent_dim: 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["train", "--config-dir", "mine", "--plugin", "their_models", "model=theirs", "evaluator=none"]
    try:
        assert main.main([*words, "trainer.steps=1", "logger=jsonl", "hydra.run.dir=run"]) == 0
    finally:
        MODELS._entries.pop("theirs", None)


def test_training_imports_neither_torchvision_nor_torchs_compiler() -> None:
    known, *loaded = fresh(TRAINING)[0].split()
    assert "torchvision" not in loaded
    if known == "False":
        pytest.skip("this version of torch wraps its optimizers in a way not known to genlab.core.eager")
    assert loaded == []

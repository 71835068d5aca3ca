"""A mistake of a plug-in's author is named as such, with the plug-in's file, and never called a bug in genlab."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlab import registry
from genlab.cli import main

PLUGIN = """
import torch
from torch import nn
from genlab.core.model import Model
from genlab.registry import MODELS

class Base(Model):
    def __init__(self, image_shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

def register(name, found):
    def loss(self, image):
        return found(self.weight)
    MODELS(name)(type(name, (Base,), {"loss": loss, "__module__": __name__}))

register("mistaken_nothing", lambda weight: None)
register("mistaken_number", lambda weight: weight.sum())
register("mistaken_key", lambda weight: {"total": weight.sum()})
register("mistaken_constant", lambda weight: {"loss": torch.zeros(())})
register("mistaken_vector", lambda weight: {"loss": weight})
register("mistaken_float", lambda weight: {"loss": weight.sum(), "extra": 1.0})
register("mistaken_code", lambda weight: {"loss": weight.nothing})
MODELS("mistaken_base")(Base)
"""
CONTRACT = "return a dict of scalar tensors: 'loss'"
MISTAKES = {
    "nothing": (2, "the objective of phase 'model' returns a NoneType; mistaken_nothing in ", CONTRACT),
    "number": (2, "returns a Tensor; mistaken_number in ", CONTRACT),
    "key": (2, "returns no 'loss' that depends on its parameters; ", CONTRACT),
    "constant": (2, "returns no 'loss' that depends on its parameters; ", CONTRACT),
    "vector": (2, "returns 'loss', which is not a scalar tensor; ", CONTRACT),
    "float": (2, "returns 'extra', which is not a scalar tensor; ", CONTRACT),
    "code": (1, "a bug in plug-in 'mistaken': AttributeError: ", "mistaken.py, line "),
    "base": (2, "model Base defines neither loss() nor phases()", "module mistaken; define one of them"),
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The flags with which a command knows the mistaken models, which are forgotten after the test."""
    monkeypatch.setattr(registry.MODELS, "_entries", dict(registry.MODELS._entries))
    monkeypatch.setattr(registry, "loaded_plugins", [])
    (tmp_path / "mistaken.py").write_text(PLUGIN)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    for name in MISTAKES:
        (tmp_path / "conf" / "model" / f"mistaken_{name}.yaml").write_text(f"# A mistake\nname: mistaken_{name}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield ["--plugin", "mistaken", "--config-dir", str(tmp_path / "conf")]
    sys.modules.pop("mistaken", None)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistake_the_file_and_the_contract_are_named(
    mistake: str, plugin: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, what, where = MISTAKES[mistake]
    words = [f"model=mistaken_{mistake}", "trainer.steps=2", "evaluator=none", "logger=quiet", "--device", "cpu"]
    assert main.main(["train", *words, *plugin]) == code
    said = capsys.readouterr().err.splitlines()[-1]
    assert what in said
    assert where in said
    assert "a bug in genlab" not in said


@pytest.mark.parametrize("name", ["myvae", "unlike"])
def test_a_plugin_model_without_a_file_is_not_taken_for_another(
    name: str, plugin: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["train", *plugin, f"model={name}"]) == 2
    said = capsys.readouterr().err
    assert f"unknown model '{name}'" in said
    assert f"needs a file too: model/{name}.yaml in a folder of --config-dir" in said
    assert "did you mean" not in said


@pytest.mark.parametrize("name", ["nowhere", "nowhere.at.all", "", ".relative"])
def test_a_missing_plugin_is_named_before_what_it_would_register(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["train", "--plugin", name, "model=its_model"]) == 2
    assert f"there is no plug-in '{name}'; --plugin;" in capsys.readouterr().err

"""The shape of the code itself: few modules in each package, and a short way from the command to a loss."""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import genlab
from genlab.cli.main import main

PACKAGE = Path(genlab.__file__).parent


def test_no_package_is_too_wide_to_be_read() -> None:
    modules = Counter(path.parent for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    assert modules.pop(PACKAGE) <= 4  # and __init__.py
    assert {str(folder): count for folder, count in modules.items() if count > 14} == {}


def test_every_folder_with_modules_is_a_package() -> None:
    # otherwise discovery passes over it in silence
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_nine_calls_lead_from_the_command_to_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.models.autoencoders.vae import VAE

    loss, ways = VAE.loss, []

    def watched(self: VAE, *arguments: Any) -> Any:
        ways.append([frame.function for frame in inspect.stack()[1:] if str(PACKAGE) in frame.filename])
        return loss(self, *arguments)

    monkeypatch.setattr(VAE, "loss", watched)
    command = ["train", "model=vae", "dataset=digits", "trainer.steps=1", "--device", "cpu", "evaluator=none"]
    assert main([*command, "logger=quiet", "hydra.run.dir=run"]) == 0
    assert len(ways) == 1
    assert len(ways[0]) <= 9, ways

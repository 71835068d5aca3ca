"""`genlab new` writes plug-ins that work; code in a folder runs only if its user has said so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.cli import main
from genlab.config import trusted
from tests.support.commands import said

GENLAB = [sys.executable, "-m", "genlab"]
SHORT = ["trainer.steps=2", "evaluator=none", "logger=quiet", "--device", "cpu"]


def genlab(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: a plug-in stays registered in the process that has loaded it."""
    return subprocess.run([*GENLAB, *words], capture_output=True, text=True)


def test_a_new_model_is_trained_from_an_empty_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert "configs/model/my_model.yaml" in said(capsys, "new", "model", "my_model")
    done = genlab("train", "model=my_model", "dataset=digits", "hydra.run.dir=run", *SHORT)
    assert done.returncode == 0, done.stderr
    assert genlab("sample", "run", "n=1").returncode == 0


@pytest.mark.parametrize("kind", ["model", "dataset", "evaluator"])
def test_the_tests_of_a_new_plug_in_pass(kind: str, tmp_path: Path) -> None:
    assert main.main(["new", kind, f"my_{kind}"]) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_my_{kind}.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_templates_keep_the_rules_of_the_house(tmp_path: Path) -> None:
    for kind in ("model", "dataset", "evaluator"):
        assert main.main(["new", kind, f"my_{kind}"]) == 0
    rules = Path(__file__).parents[2] / "pyproject.toml"
    command = [sys.executable, "-m", "ruff", "check", "--config", str(rules), "--ignore", "I001", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


PLANTED = 'open("ran", "w").close()\n'


def test_code_in_a_strangers_folder_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if the folder holds what its owner was asked to write."""
    assert main.main(["new", "model", "theirs"]) == 0
    Path("theirs.py").write_text(PLANTED)
    trusted.store().rename("trusted.json")  # the consent, in the wrong place: in the folder
    assert genlab("doctor", "--json").returncode == 0
    assert genlab("train", "dry_run=true", "model=theirs").returncode == 2
    assert not Path("ran").exists()
    assert main.main(["trust", "theirs"]) == 0
    genlab("train", "dry_run=true")
    assert Path("ran").exists()


IN_PYTHON = """
import genlab
words = ["dataset=digits", "trainer.steps=2", "trainer.device=cpu", "evaluator=none", "logger=jsonl"]
run = genlab.train(["model=own_model", *words]).run_dir
print(type(genlab.load(run)).__name__)
(record,) = genlab.train_sweep(["model=own_model", *words])
print(record["status"])
"""


def test_python_loads_what_the_user_trusts_as_the_command_does(tmp_path: Path) -> None:
    assert main.main(["new", "model", "own_model"]) == 0

    def python(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-P", "-c", IN_PYTHON], capture_output=True, text=True, cwd=folder)

    done = python(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "OwnModel" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == "done"
    other = tmp_path / "other"
    other.mkdir()
    (other / "own_model.py").write_text(PLANTED)
    assert "unknown model 'own_model'" in python(other).stderr
    assert not (other / "ran").exists()


def test_the_configurations_beside_a_plug_in_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.main(["new", "model", "mine"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert trusted.config_dirs(tmp_path) == [str(tmp_path / "configs")]
    assert trusted.config_dirs(Path("..")) != []
    assert trusted.config_dirs(Path()) == []


def test_consent_is_for_one_folder() -> None:
    assert main.main(["new", "model", "mine"]) == 0
    Path("elsewhere").mkdir()
    Path("elsewhere/mine.py").write_text(PLANTED)
    assert trusted.plugins(Path()) == ["mine"]
    assert trusted.plugins(Path("elsewhere")) == []


def test_a_file_of_consent_that_cannot_be_read_is_no_consent() -> None:
    assert main.main(["new", "model", "mine"]) == 0
    trusted.store().write_text("[1")
    assert trusted.plugins(Path()) == []
    assert main.main(["trust", "mine"]) == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["model", "vae"], "genlab has a model 'vae' already"),
        (["model", "json"], "there is a Python module 'json' already"),
        (["model", "../mine"], "is no name of a module"),
        (["model", "class"], "is no name of a module"),
        (["network", "mine"], "invalid choice"),
    ],
)
def test_names_that_are_refused(words: list[str], text: str, refused: Callable[..., str]) -> None:
    assert text in refused("new", *words)


def test_nothing_is_overwritten(refused: Callable[..., str]) -> None:
    Path("test_mine.py").symlink_to("victim")
    assert "'test_mine.py' exists" in refused("new", "model", "mine")
    assert "there is no plug-in 'absent'" in refused("trust", "absent")

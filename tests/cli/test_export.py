"""A model as one file: every command takes it as it takes the run, and a damaged or hostile one ends in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import genlab
from genlab.cli import main
from tests.support.commands import SMALL_VAE, Refused, said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A small VAE with averaged weights."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("export")
        patch.chdir(root)
        patch.setenv("GENLAB_CACHE", str(cache))
        words = ["trainer.steps=5", "trainer.ema_decay=0.5", "evaluator=none", "logger=quiet"]
        assert main.main(["train", "model=vae", *SMALL_VAE, *words, f"hydra.run.dir={root / 'run'}"]) == 0
    return root / "run"


@pytest.fixture
def file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    said(capsys, "export", str(run), f"out={tmp_path / 'vae.safetensors'}")
    return tmp_path / "vae.safetensors"


def test_samples_and_measures_of_the_file_are_those_of_the_run(
    run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, out in ((run, "a.npy"), (file, "b.npy")):
        said(capsys, "sample", str(source), "n=20", f"out={tmp_path / out}")
    assert (np.load(tmp_path / "a.npy") == np.load(tmp_path / "b.npy")).all()
    said(capsys, "eval", str(file), "name=objective")
    said(capsys, "eval", str(run), "name=objective")
    [ours] = (tmp_path / "vae" / "eval").glob("*.json")
    [theirs] = (run / "eval").glob("*.json")
    assert json.loads(ours.read_text())["metrics"] == json.loads(theirs.read_text())["metrics"]


def test_half_precision_halves_the_file_and_is_read_back_as_float32(
    run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "export", str(run), "half=true", f"out={tmp_path / 'half.safetensors'}")
    whole, half = genlab.load(file), genlab.load(tmp_path / "half.safetensors")
    for name, weight in half.state_dict().items():
        assert weight.dtype == whole.state_dict()[name].dtype
        torch.testing.assert_close(weight, whole.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert load_file(tmp_path / "half.safetensors")[name].dtype == torch.float16


def test_the_file_tells_nothing_of_the_machine(file: Path, run: Path) -> None:
    with safe_open(file, "pt") as content:
        about = content.metadata()["genlab"]
    assert str(run.parent) not in about
    assert "command" not in json.loads(about)["record"]


def damage(file: Path, kind: str) -> None:
    tensors = load_file(file)
    with safe_open(file, "pt") as content:
        about = json.loads(content.metadata()["genlab"])
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif kind == "text":
        file.write_text("not a model")
    elif kind == "foreign":
        save_file(tensors, file)
    elif kind == "other model":
        about["config"]["model"]["latent_dim"] = 9
    elif kind == "unknown model":
        about["config"]["model"] = {"name": "os.system"}
    elif kind == "no data":
        del about["record"]["data"]
    elif kind == "missing weight":
        tensors.popitem()
    elif kind == "huge":
        tensors["more"] = torch.zeros(10**6)
    if kind not in ("cut", "text", "foreign"):
        save_file(tensors, file, {"genlab": json.dumps(about)})


@pytest.mark.parametrize(
    "kind",
    ["cut", "text", "foreign", "other model", "unknown model", "no data", "missing weight", "huge"],
)
def test_a_damaged_or_hostile_file_is_refused(file: Path, kind: str, refused: Refused) -> None:
    damage(file, kind)
    line = refused("sample", str(file), "n=4", code=4)
    assert "vae.safetensors is no model of genlab" in line
    assert "export the run again" in line


def test_what_a_format_cannot_do_is_said_first(run: Path, refused: Refused) -> None:
    assert "key part" in refused("export", str(run), "part=decoder")
    assert "key half" in refused("export", str(run), "to=torch", "half=true")
    assert "ending in .onnx" in refused("export", str(run), "to=onnx", "out=x.pt2")
    assert "has no translator" in refused("export", str(run), "to=torch", "part=translator")
    assert "unknown key 'steps'" in refused("export", str(run), "to=torch", "steps=3")

"""A model as one file: every command takes it as it takes the run, and a damaged or hostile one ends in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def no_data(about: Any, tensors: dict[str, torch.Tensor]) -> None:
    del about["record"]["data"]


def other_size(about: Any, tensors: dict[str, torch.Tensor]) -> None:
    about["config"]["model"]["latent_dim"] = 9


def unknown_model(about: Any, tensors: dict[str, torch.Tensor]) -> None:
    about["config"]["model"] = {"name": "os.system"}


def missing_weight(about: Any, tensors: dict[str, torch.Tensor]) -> None:
    tensors.popitem()


def more_weights(about: Any, tensors: dict[str, torch.Tensor]) -> None:
    tensors["more"] = torch.zeros(10**6)


def huge(about: Any, tensors: dict[str, torch.Tensor]) -> None:
    about["record"]["data"]["shape"] = [1, 65536, 65536]


def empty_image(about: Any, tensors: dict[str, torch.Tensor]) -> None:
    about["record"]["data"]["shape"] = [1, 0, 8]


@pytest.mark.parametrize(
    "change", [no_data, other_size, unknown_model, missing_weight, more_weights, huge, empty_image]
)
def test_a_hostile_file_is_refused(file: Path, change: Callable[..., None], refused: Refused) -> None:
    tensors = load_file(file)
    with safe_open(file, "pt") as content:
        about = json.loads(content.metadata()["genlab"])
    change(about, tensors)
    save_file(tensors, file, {"genlab": json.dumps(about)})
    assert "vae.safetensors is not a genlab model" in refused("sample", str(file), "n=4", code=4)


@pytest.mark.parametrize("kind", ["cut", "text", "foreign"])
def test_a_damaged_file_is_refused(file: Path, kind: str, refused: Refused) -> None:
    content = file.read_bytes()
    file.write_bytes({"cut": content[:-100], "text": b"not a model at all", "foreign": b""}[kind])
    if kind == "foreign":
        save_file({"weight": torch.zeros(3)}, file)
    line = refused("sample", str(file), "n=4", code=4)
    assert "vae.safetensors is not a genlab model" in line
    assert "export the run again" in line


def test_weights_that_float16_cannot_hold_are_named(run: Path, file: Path, tmp_path: Path, refused: Refused) -> None:
    tensors = load_file(file)
    with safe_open(file, "pt") as content:
        about = content.metadata()
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = 1e5
    save_file(tensors, file, about)
    line = refused("export", str(file), "half=true", f"out={tmp_path / 'half.safetensors'}")
    assert f"'{name}' has values that float16 cannot hold" in line


def test_a_file_beside_a_run_of_its_name_does_not_write_into_the_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "export", str(run), f"out={run}.safetensors")
    path = Path(said(capsys, "sample", f"{run}.safetensors", "n=2").strip())
    assert path.is_relative_to(run.with_suffix(".results"))


def test_paths_of_the_machine_are_left_out_at_any_depth() -> None:
    from genlab.workflows.export.model_file import _without_paths

    config = {"dataset": {"base": {"name": "x", "root": "/home/a"}, "samples": ["/b"]}, "model": {"init_from": "/c"}}
    assert "/" not in json.dumps(_without_paths(config))


def test_what_a_format_cannot_do_is_said_first(run: Path, refused: Refused) -> None:
    assert "key part" in refused("export", str(run), "part=decoder")
    assert "key half" in refused("export", str(run), "to=torch", "half=true")
    assert "ending in .onnx" in refused("export", str(run), "to=onnx", "out=x.pt2")
    assert "has no translator" in refused("export", str(run), "to=torch", "part=translator")
    assert "unknown key 'steps'" in refused("export", str(run), "to=torch", "steps=3")

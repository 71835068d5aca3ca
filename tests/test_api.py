"""From Python: the same runs as the command's."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import PIL.Image
import pytest
import torch

import genlab
from genlab.cli.images.drawing import Drawing, as_word
from genlab.core.model import Encodes, Reconstructs, Samples
from genlab.core.values import Image
from genlab.errors import ConfigError

TINY = ["trainer.steps=3", "trainer.batch_size=8", "logger=jsonl", "evaluator=objective", "model.network.hidden=[8]"]


def test_train_and_load(tmp_path: Path) -> None:
    result = genlab.train([*TINY, f"hydra.run.dir={tmp_path / 'run'}"])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert result.metrics == record["metrics"]
    assert record["metrics"]["valid/elbo"] == pytest.approx(-record["metrics"]["valid/loss"])
    model = genlab.load(tmp_path / "run")
    assert isinstance(model, Samples)
    assert isinstance(model, Encodes)
    assert isinstance(model, Reconstructs)
    assert not model.training
    image = torch.rand(5, 1, 8, 8)
    assert model.reconstruct(image).shape == image.shape
    again = genlab.load(str(tmp_path / "run"))
    assert torch.equal(model.encode(image), again.encode(image))


def test_a_run_leaves_the_process_as_it_was() -> None:
    torch.use_deterministic_algorithms(False)
    for _ in range(2):  # twice: the package's functions are not hidden by its modules
        genlab.train([*TINY, "dry_run=true", "trainer.deterministic=true"])
        assert not torch.are_deterministic_algorithms_enabled()
        assert float(torch.tensor(1e-40) * 1) > 0  # denormal numbers are not flushed
    assert not Path("outputs").exists()


def test_errors_carry_the_exit_code() -> None:
    with pytest.raises(ConfigError) as caught:
        genlab.train(["model=vea"])
    assert caught.value.code == 2


def test_runs_are_found_evaluated_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    runs = genlab.train_sweep([*TINY, "seed=0,1", "model.beta=1,2", "hydra.sweep.dir=outputs/s"])
    assert [(run["seed"], run["model.beta"], run["status"]) for run in runs] == [
        (seed, beta, "done") for seed in (0, 1) for beta in (1, 2)
    ]
    assert [run["path"] for run in genlab.find_runs("model.beta=2", sort="-seed")] == [
        "outputs/s/3-seed=1-beta=2",
        "outputs/s/1-seed=0-beta=2",
    ]
    result = genlab.evaluate("outputs/s/0-seed=0-beta=1", "objective", split="valid", batch_size=50)
    assert result["protocol"]["options"] == {"batch_size": 50}
    assert result["metrics"]["loss"] == pytest.approx(runs[0]["valid/loss"], rel=0.01)  # other noise
    found = genlab.compare("outputs/s", metric=["kl"])
    assert {pair.metric.key.name for pair in found.pairs} == {"kl"}
    assert len(found.records()) == 4
    with pytest.raises(ConfigError):
        genlab.find_runs("dcgan")


def test_images_of_a_run_are_drawn_and_shown_in_a_notebook(tmp_path: Path) -> None:
    run = tmp_path / "run"
    genlab.train([*TINY, f"hydra.run.dir={run}"])
    drawing = genlab.draw(run, "reconstruct", n=4, captions=False)
    assert drawing.path.parent == run / "images"
    shown = drawing._repr_mimebundle_()
    assert base64.b64decode(shown["image/png"]) == drawing.path.read_bytes()
    assert "image/png" not in Drawing(tmp_path / "missing.png")._repr_mimebundle_()
    film = genlab.draw(run, "walk", n=2, steps=2, out=tmp_path / "walk.gif")
    assert film.path == tmp_path / "walk.gif"
    assert set(film._repr_mimebundle_()) == {"text/plain", "image/gif"}
    with pytest.raises(ConfigError, match="'train' draws no image"):
        genlab.draw(run, "train")


def test_values_are_written_as_on_the_command_line() -> None:
    values = [7, 0.5, True, None, "a b", [0, "bag", None]]
    assert [as_word(each) for each in values] == ["7", "0.5", "true", "null", "a b", "[0,bag,null]"]


def test_curves_are_plotted(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    genlab.train([*TINY, f"hydra.run.dir={tmp_path / 'run'}"])
    figure = genlab.plot(tmp_path / "run", metric=["loss", "elbo"], out=tmp_path / "curves.svg")
    assert b"<svg" in figure.path.read_bytes()
    assert "image/svg+xml" in figure._repr_mimebundle_()


def test_a_grid_of_images_is_shown_in_a_notebook() -> None:
    grid = genlab.image_grid(torch.rand(6, 1, 8, 8), 3, rows=["a", "b"])
    assert PIL.Image.open(io.BytesIO(grid._repr_png_())).size == grid.pixels.shape[:0:-1]
    assert repr(genlab.image_grid(torch.rand(1, 3, 8, 8))) == "Image(68 x 68 pixels, color)"


def test_data_are_loaded_of_a_run_and_of_overrides(tmp_path: Path) -> None:
    digits = genlab.load_data(["dataset=digits", "dataset.test=20"])
    assert {name: tuple(column.shape) for name, column in digits.items()} == {"image": (20, 1, 8, 8), "label": (20,)}
    assert (digits["image"].min(), digits["image"].max()) == (0, 1)
    genlab.train([*TINY, "dataset.test=20", f"hydra.run.dir={tmp_path / 'run'}"])
    of_run = genlab.load_data(tmp_path / "run")
    assert all(torch.equal(of_run[name], column) for name, column in digits.items())
    few = genlab.load_data(tmp_path / "run", "train", n=10)
    assert sorted(few["label"].tolist()) == list(range(10))  # in the proportions of the classes
    pairs = genlab.load_data(["dataset=low_high", "dataset.base=digits", "dataset.size=8"], n=3)
    assert set(pairs) == {"a", "b", "label"}
    assert genlab.load_data(["dataset=ring"], n=3)["image"].shape == (3, 2, 1, 1)


def test_evaluations_return_their_images(tmp_path: Path) -> None:
    genlab.train([*TINY, "model.latent_dim=2", f"hydra.run.dir={tmp_path / 'run'}"])
    found = genlab.evaluate(tmp_path / "run", "manifold", side=3)
    assert isinstance(found["images"]["manifold"], Image)

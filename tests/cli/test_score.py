"""Samples of any origin: written by `genlab sample`, measured by `genlab score` as `genlab eval` does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.cli import main
from genlab.workflows.score import jackknife_error
from tests.support.commands import Refused, said

DATA = ["dataset=digits", "dataset.size=32"]
EVALUATORS = ["evaluator=[fid,prdc]", "evaluator.fid.extractor=mnist", "evaluator.prdc.extractor=mnist"]
MANY = ["evaluator.fid.images=150", "evaluator.prdc.images=150"]
SMALL = ["model.generator.base_channels=4", "model.discriminator.base_channels=4", "trainer.batch_size=16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A conditional GAN after two steps."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("score")
        patch.chdir(root)
        patch.setenv("GENLAB_CACHE", str(cache))
        quiet = ["trainer.steps=2", "evaluator=none", "logger=quiet"]
        assert main.main(["train", "model=cgan", *SMALL, *DATA, *quiet, f"hydra.run.dir={root / 'run'}"]) == 0
    return root / "run"


@pytest.mark.parametrize("name", ["samples.npz", "samples.npy", "samples.safetensors", "samples/"])
def test_score_of_own_samples_equals_eval_to_the_bit(
    run: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = tmp_path / name
    said(capsys, "sample", str(run), "n=150", f"out={samples}/" if name.endswith("/") else f"out={samples}")
    said(capsys, "eval", str(run), *EVALUATORS, *MANY, "repeats=1")
    found = json.loads(said(capsys, "score", str(samples), *DATA, *EVALUATORS, *MANY, "blocks=0", "--json"))
    for evaluator in ("fid", "prdc"):
        [file] = (run / "eval").glob(f"{evaluator}-test-*.json")
        assert found[evaluator]["metrics"] == json.loads(file.read_text())["metrics"]


def test_classes_stand_in_the_file_and_in_the_names(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "sample", str(run), "n=12", f"out={tmp_path / 'a.npz'}")
    said(capsys, "sample", str(run), "n=3", "label=4,7", f"out={tmp_path / 'a'}/")
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["image"].shape == (12, 1, 32, 32)
        assert arrays["label"].tolist() == [*range(10), 0, 1]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["000000-4.png", "000001-7.png", "000002-4.png"]


def test_a_folder_that_holds_something_is_not_written_to(run: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert "is not an empty folder" in refused("sample", str(run), "n=2", f"out={tmp_path / 'full'}/")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images of 32 x 32."""
    (tmp_path / "images").mkdir()
    for index in range(20):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    return tmp_path / "images"


def test_what_cannot_be_compared_is_refused(folder: Path, refused: Refused) -> None:
    assert "20 generated images are too few" in refused("score", str(folder), *DATA, *EVALUATORS)
    Image.new("L", (32, 33)).save(folder / "odd.png")
    assert "odd.png is 32x33" in refused("score", str(folder), *DATA)
    (folder / "odd.png").write_bytes(b"not an image")
    assert "odd.png cannot be read" in refused("score", str(folder), *DATA, code=3)
    assert "nothing to compare" in refused("score", str(folder))


def test_other_shapes_and_evaluators_are_refused(tmp_path: Path, refused: Refused) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 16, 16), np.uint8))
    assert "(1, 16, 16)" in refused("score", str(tmp_path / "a.npy"), *DATA)
    np.save(tmp_path / "a.npy", np.zeros((9, 32, 32), np.uint8))
    assert "does not measure samples alone" in refused("score", str(tmp_path / "a.npy"), *DATA, "evaluator=probe")
    assert "unknown key 'trainer.steps'" in refused("score", str(tmp_path / "a.npy"), *DATA, "trainer.steps=3")


def test_errors_are_given_where_they_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (130, 32, 32), np.uint8)
    np.save(tmp_path / "a.npy", images)
    words = [str(tmp_path / "a.npy"), *DATA, "evaluator=[fid,kid]", "evaluator.fid.extractor=mnist", "--json"]
    words += ["evaluator.kid.extractor=mnist", "evaluator.kid.subset_size=50"]
    found = json.loads(said(capsys, "score", *words))
    assert "kid_mnist_se" not in found["kid"]["metrics"]  # its subsets are drawn at random
    assert "too few" in found["fid"]["protocol"]["errors"]  # 117 without a block, 128 are needed
    assert "fid_mnist_se" not in found["fid"]["metrics"]


def test_blocks_must_leave_samples(tmp_path: Path, refused: Refused) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 32, 32), np.uint8))
    for blocks in (1, 5):
        line = refused("score", str(tmp_path / "a.npy"), *DATA, "evaluator=prdc", f"blocks={blocks}")
        assert "cannot be cut into" in line


def test_the_jackknife_gives_the_standard_error_of_a_mean() -> None:
    numbers = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    without = [(numbers.sum() - each).item() / 39 for each in numbers]
    assert jackknife_error(without) == pytest.approx(float(numbers.std()) / 40**0.5)


def test_standard_errors_agree_with_the_spread_over_sets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples: noisy digits. The error that one set gives, and the deviation over twelve independent sets."""
    monkeypatch.setenv("GENLAB_CACHE", str(cache))
    from sklearn.datasets import load_digits

    digits = load_digits().images.astype(np.float32) / 16
    found = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        images = digits[random.integers(0, len(digits), 400)] + random.normal(0, 0.2, (400, 8, 8))
        np.save(tmp_path / f"{seed}.npy", images.clip(0, 1).astype(np.float32))
        words = ["dataset=digits", "evaluator=fid", "evaluator.fid.extractor=pixels", "evaluator.fid.images=400"]
        blocks = "blocks=20" if seed < 3 else "blocks=0"
        score = json.loads(said(capsys, "score", str(tmp_path / f"{seed}.npy"), *words, blocks, "--json"))
        found.append(score["fid"]["metrics"])
    spread = np.std([each["fid_pixels"] for each in found], ddof=1)
    errors = [each["fid_pixels_se"] for each in found[:3]]
    assert 0.5 * spread < np.mean(errors) < 2 * spread

"""Verbs on codes: encode, traverse, arithmetic; and anomaly, on the data and on pictures of one's own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genlab
from genlab.cli import main
from genlab.cli.images import arithmetic, user_images
from genlab.workflows.build import load
from tests.support.commands import Refused

SMALL = ["model.latent_dim=4", "model.network.hidden=[16]", "recipe=null", "logger=jsonl", "evaluator=objective"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLAB_CACHE", str(cache))
        genlab.train([*SMALL, "trainer.steps=200", f"hydra.run.dir={run}"])
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    capsys.readouterr()
    return Path(shutil.copytree(trained, tmp_path / "run"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main.main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_encode_writes_every_split_with_its_protocol(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "encode", run) == ["1,797 codes of 4 numbers", str(run / "codes.npz")]
    loaded = load(run)
    with np.load(run / "codes.npz") as file:
        codes, labels, split = file["codes"], file["labels"], file["split"]
        protocol = json.loads(str(file["protocol"]))
    assert (codes.shape, codes.dtype, labels.shape) == ((1797, 4), np.float32, (1797,))
    for name in ("train", "valid", "test"):
        image, label = loaded.data().split(name).take(2000, ("image", "label"))
        assert np.array_equal(labels[split == name], label)
        assert np.allclose(codes[split == name], loaded.model.encode(image), atol=1e-5)
    assert (protocol["dataset"], protocol["step"], protocol["split"]) == ("digits", 200, "all")
    assert protocol["data_fingerprint"] == loaded.record["data"]["fingerprint"]


def test_encode_of_one_split_where_asked(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "encode", run, "split=test", f"out={tmp_path / 'own.npz'}")
    with np.load(tmp_path / "own.npz") as file:
        assert set(file["split"]) == {"test"}
    assert sorted(path.name for path in tmp_path.glob("*own*")) == ["own.npz"]


def test_the_direction_is_a_difference_of_means(run: Path) -> None:
    loaded = load(run)
    data = loaded.data()
    image, label = data.split("train").take(300, ("image", "label"))
    code = loaded.model.encode(image)
    expected = code[label == 3].mean(0) - code[label != 3].mean(0)
    with torch.no_grad():
        assert torch.allclose(arithmetic.direction(loaded, data, 3, 300), expected, atol=1e-5)


def test_rows_start_at_an_image_without_the_attribute(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = said(capsys, "arithmetic", run, "attribute=0", "n=3", "steps=4", "strength=2", "captions=false")[-1]
    loaded = load(run)
    image, label = loaded.data().split("test").take(2000, ("image", "label"))
    shown = torch.from_numpy(np.array(Image.open(path))).float() / 255
    cells = [shown[2:66, 2 + 66 * i : 66 + 66 * i][::8, ::8] for i in range(5)]  # an 8x8 digit is shown 8 times larger
    assert shown.shape == (2 + 66 * 3, 2 + 66 * 5)
    [first] = [each for each in image[label != 0][:, 0] if torch.allclose(cells[0], each, atol=0.01)]
    assert torch.allclose(cells[1], loaded.model.reconstruct(first[None, None])[0, 0], atol=0.01)
    assert (cells[4] - cells[1]).abs().max() > 0.02


def test_traversals_are_a_block_of_rows_for_each_image(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = said(capsys, "traverse", run, "n=2", "dimensions=3", "columns=5", "captions=false")[-1]
    with Image.open(path) as image:
        assert image.size == (2 + 66 * 5, 2 + 66 * 6)
        assert np.asarray(image).std() > 0


def test_anomalies_by_class_and_of_ones_own_pictures(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "anomaly", run, "quantile=0.5")
    rows = [line.split() for line in lines if re.match(r"\d +\d+ +\d+", line)]
    assert [row[0] for row in rows] == list("0123456789")
    assert sum(int(row[1]) for row in rows) == 180
    assert 0.3 < sum(int(row[2]) for row in rows) / 180 < 0.7  # half of training images lie above the median
    own = tmp_path / "own"
    own.mkdir()
    image = load(run).data().split("train").take(1, ("image",))[0][0, 0]
    Image.fromarray((image.numpy() * 255).astype(np.uint8)).save(own / "digit.png")
    chequers = np.indices((16, 24)).sum(0) // 2 % 2 * 255
    Image.fromarray(chequers.astype(np.uint8)).convert("RGB").save(own / "chequers.jpg")
    (own / "notes.txt").write_text("no picture")
    table = said(capsys, "anomaly", run, f"image={own}", "quantile=0.999")
    assert [line.split()[-1] for line in table[1:3]] == ["anomaly", "normal"]
    assert "chequers.jpg" in table[1]
    assert Path(table[-1]).is_file()


def test_own_pictures_are_upright_cropped_and_gray_where_the_model_is(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (255, 0, 0)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (picture,) = user_images.read(user_images.files_at(str(tmp_path)), (3, 5, 5))
    assert torch.equal(picture[:, 2, 2], torch.tensor([1.0, 0.0, 0.0]))
    (gray,) = user_images.read(user_images.files_at(str(tmp_path / "wide.png")), (1, 5, 5))
    assert gray[0, 2, 2] == pytest.approx(0.299, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "line", "code"),
    [
        (["arithmetic", "{run}"], "missing value for 'attribute'", 2),
        (["arithmetic", "{run}", "attribute=Smiling"], "unknown attribute 'Smiling'; data set digits", 2),
        (["encode", "{run}", "out=codes.csv"], "give a name ending in .npz", 2),
        (["encode", "{run}", "out=/proc/nowhere/codes.npz"], "cannot write it", 2),
        (["traverse", "{run}", "dimension=3"], "unknown key 'dimension'", 2),
        (["anomaly", "{run}", "image=nowhere"], "'nowhere' is not there; key image", 3),
        (["anomaly", "{run}", "image={run}/config.yaml"], "config.yaml cannot be read", 3),
        (["anomaly", "{run}", "image={run}"], "holds no images", 3),
        (["anomaly", "{run}", "quantile=1"], "bad value 1 for 'quantile'", 2),
    ],
)
def test_mistakes_are_one_line(run: Path, refused: Refused, arguments: list[str], line: str, code: int) -> None:
    assert line in refused(*(argument.replace("{run}", str(run)) for argument in arguments), code=code)

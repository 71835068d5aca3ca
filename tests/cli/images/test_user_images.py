"""genlab translate on a folder of one's own: what cannot be read, and what must not be overwritten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.cli import main
from genlab.cli.images import user_images
from genlab.cli.images.image_command import named
from genlab.cli.images.translate import Keys
from genlab.data.store.image import Form, decode
from genlab.errors import ConfigError, DataError
from tests.support.commands import Refused

TRAINED = [
    "model=cyclegan", "model.generator.base_channels=2", "model.generator.blocks=1",
    "model.discriminator.base_channels=2",
    "dataset=unpaired", "dataset.base={name: digits}", "dataset.classes=[4,9]", "dataset.size=null",
    "trainer.steps=1", "trainer.batch_size=8", "evaluator=none", "logger=jsonl", "hydra.run.dir=outputs/c/a",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """outputs/ with a CycleGAN of digits, one step."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("translators")
        patch.chdir(root)
        patch.setenv("GENLAB_CACHE", str(cache))
        assert main.main(["train", *TRAINED]) == 0
    return root / "outputs"


@pytest.fixture(autouse=True)
def own(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Twenty pictures, more than are translated at a time, beside the run."""
    shutil.copytree(trained, tmp_path / "outputs")
    (tmp_path / "own").mkdir()
    for i in range(20):
        Image.new("RGB", (20, 16), (10 * i, 100, 0)).save(tmp_path / "own" / f"{i:02}.png")
    capsys.readouterr()
    return tmp_path / "own"


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in Path(folder).iterdir())


def test_what_cannot_be_read_is_told_and_the_rest_translated(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "00.png").write_bytes(b"junk")
    assert main.main(["translate", "c/a", "input=own", "folder=made", "n=3", "captions=false", "out=sheet.png"]) == 3
    out, error = capsys.readouterr()
    assert error.startswith("genlab: error: image own/00.png cannot be read; ")
    assert error.count("\n") == 1
    assert names("made") == [f"{i:02}" for i in range(1, 20)]
    assert out.splitlines()[-1] == "sheet.png"
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (2 + 3 * 66, 2 + 2 * 66)

    (own / "19.png").write_bytes(b"")
    assert main.main(["translate", "c/a", "input=own", "folder=again"]) == 3
    first, second, last = capsys.readouterr().err.splitlines()
    assert "image own/00.png cannot be read" in first
    assert "image own/19.png cannot be read" in second
    assert last == "genlab: error: 2 images cannot be read; key input; see the lines above; restore them"
    assert names("again") == [f"{i:02}" for i in range(1, 19)]


def test_a_folder_of_nothing_that_can_be_read(own: Path, refused: Refused) -> None:
    for file in own.iterdir():
        file.unlink()
    (own / "one.png").write_bytes(b"junk")
    assert "own/one.png cannot be read" in refused("translate", "c/a", "input=own", code=3)


def test_originals_are_not_overwritten(own: Path, refused: Refused) -> None:
    before = (own / "00.png").read_bytes()
    for words in (["input=own", "folder=own"], ["input=own/00.png", "folder=./own"]):
        assert "give another folder" in refused("translate", "c/a", *words)
    assert (own / "00.png").read_bytes() == before


def test_each_input_and_direction_has_its_own_folder_and_sheet(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(own, "deep/own")
    made = set()
    for words in (["input=own"], ["input=own", "seed=1"], ["input=own", "direction=ba"], ["input=deep/own"]):
        assert main.main(["translate", "c/a", *words]) == 0
        made |= set(capsys.readouterr().out.splitlines())
    assert len(made) == 4 * (20 + 1)
    folders = {Path(each).parent.name for each in made}
    [deep] = folders - {"images", "translated-ab-own", "translated-ab-own-seed1", "translated-ba-own"}
    assert deep.startswith("translated-ab-deep-own-")


def test_no_two_words_are_told_alike() -> None:
    long = "pictures/" * 8
    words = ["pics-a", "pics/a", "pics/a/", "pics a", f"one/{long}", f"two/{long}"]
    names = {named("translated direction", Keys(input=word)) for word in words}
    assert len(names) == len(words)
    assert "translated-ab-pics-a" in names  # a plain word is as it was given
    assert all(len(name) < 100 and "/" not in name for name in names)


SHAPE = (1, 4, 4)


def test_pictures_are_read_as_data_sets_read_them(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray((ramp // 256).astype(np.uint8)).save(tmp_path / "flat.png")
    deep, flat = user_images.read([tmp_path / "deep.png", tmp_path / "flat.png"], SHAPE)
    assert torch.allclose(deep, flat, atol=2 / 255)  # 16 bits were read as white
    assert deep.max() > 0.8
    assert deep.min() < 0.2
    stored = decode((tmp_path / "deep.png").read_bytes(), Form(4, channels=1))
    assert torch.equal(deep, torch.tensor(stored).float() / 255)


def test_an_image_that_is_not_square_is_cut_and_turned(tmp_path: Path) -> None:
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[:20] = 255  # the upper half is white
    Image.fromarray(pixels).save(tmp_path / "up.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    up, turned = user_images.read([tmp_path / "up.png", tmp_path / "turned.png"], (3, 8, 4))
    assert up.shape == (3, 8, 4)
    assert up[:, :3].min() == 1
    assert up[:, 5:].max() == 0
    assert torch.equal(up, turned)


@pytest.mark.parametrize("name", ["float.tiff", "pipe.png", "bomb.png", "folder.png", "missing.png"])
def test_pictures_that_data_sets_refuse_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "float.tiff":
        Image.fromarray(np.random.rand(8, 8).astype(np.float32)).save(path)  # was read as black
    elif name == "pipe.png":
        os.mkfifo(path)  # hung
    elif name == "bomb.png":
        Image.new("1", (16000, 11000)).save(path)  # took 500 MB
    elif name == "folder.png":
        path.mkdir()
    with pytest.raises(DataError, match=rf"image .*{name} cannot be read; .*; restore it"):
        user_images.read([path], SHAPE)


def test_a_device_or_pipe_of_ones_own_is_refused(own: Path, refused: Refused) -> None:
    os.mkfifo("pipe")
    for path in ("pipe", "/dev/null", "/dev/zero"):
        assert "not a regular file" in refused("translate", "c/a", f"input={path}", code=3)
    assert "File name too long" in refused("translate", "c/a", f"input={'x' * 300}")
    for key in ("folder", "out"):
        assert f"key {key}" in refused("translate", "c/a", "input=own", f"{key}=~nosuchuser/x.png")


def test_a_model_of_points_takes_no_pictures(own: Path) -> None:
    with pytest.raises(ConfigError, match="trained on points"):  # was a bug in genlab
        user_images.read([own / "00.png"], (2, 1, 1))

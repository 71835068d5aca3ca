"""genlab translate on a folder of one's own: what cannot be read, and what must not be overwritten."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from genlab.cli import main
from genlab.cli.images.image_command import named
from genlab.cli.images.translate import Keys
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
    assert main.main(["translate", "c/a", "input=own", "folder=made", "n=3", "out=sheet.png"]) == 3
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

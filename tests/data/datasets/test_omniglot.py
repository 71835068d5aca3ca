"""Omniglot from small files in its layout: zipped or unpacked, the runs as a task, damaged lists as one line."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from genlab.core import rng
from genlab.data.datasets.standard.omniglot import Omniglot
from genlab.errors import DataError
from genlab.evaluation.evaluators.latent.few_shot import FewShot
from tests.support.evaluated import Shrinker

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("fresh")


def png(level: int) -> bytes:
    """A gray image of one level, black and white as the drawings are."""
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((105, 105), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write(root: Path, runs: int = 2, ways: int = 3) -> Path:
    """A root with both background sets (two characters of five drawings each) and runs whose files say their class."""
    folder = root / "omniglot"
    folder.mkdir(parents=True)
    for part, alphabet in (("small1", "Greek"), ("small2", "Latin")):
        with zipfile.ZipFile(folder / f"images_background_{part}.zip", "w") as archive:
            archive.writestr(f"images_background_{part}/", "")
            for character in (1, 2):
                for drawer in range(1, 6):
                    name = f"images_background_{part}/{alphabet}/character{character:02}/0001_{drawer:02}.png"
                    archive.writestr(name, png(200))
    with zipfile.ZipFile(folder / "all_runs.zip", "w") as archive:
        for run in range(1, runs + 1):
            lines = []
            for k in range(ways):
                archive.writestr(f"run{run:02}/training/class{k + 1:02}.png", png(10 * k))
                item, of = f"run{run:02}/test/item{k + 1:02}.png", (k + run) % ways
                archive.writestr(item, png(10 * of + 1))
                lines.append(f"{item} run{run:02}/training/class{of + 1:02}.png")
            archive.writestr(f"run{run:02}/class_labels.txt", "\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("unpacked", [False, True])
def test_the_runs_are_the_test_split_with_their_roles(tmp_path: Path, unpacked: bool) -> None:
    folder = write(tmp_path)
    if unpacked:
        for path in sorted(folder.glob("*.zip")):
            zipfile.ZipFile(path).extractall(folder / path.stem)
            path.unlink()
    data = Omniglot(root=str(tmp_path), size=16).open(CPU)
    assert data.sizes() == {"train": 18, "valid": 2, "test": 12}
    image, label, episode = data.split("test").take(12, ("image", "label", "episode"))
    assert torch.equal(episode[:, 0], torch.arange(2).repeat_interleave(6))
    assert torch.equal(episode[:, 1], torch.tensor([0, 0, 0, 1, 1, 1]).repeat(2))
    level = (image.mean((1, 2, 3)) * 255).round().long()
    names = data.label_names
    assert names is not None
    assert [names[i] for i in label.tolist()] == [
        f"run{run + 1:02}/class{int(each) // 10 + 1:02}" for run, each in zip(episode[:, 0], level, strict=True)
    ]
    assert torch.equal(level % 10, episode[:, 1])  # the files say their role, too
    (background,) = data.split("train").take(18, ("episode",))
    assert (background == -1).all()
    assert names[:4] == ["Greek/character01", "Greek/character02", "Latin/character01", "Latin/character02"]


def test_one_background_set_needs_no_other(tmp_path: Path) -> None:
    (write(tmp_path) / "images_background_small2.zip").unlink()
    assert Omniglot(root=str(tmp_path), background="small1", size=16).open(CPU).sizes()["train"] == 9
    with pytest.raises(DataError, match=r"images_background_small2\.zip .* is missing.*put it at .*omniglot"):
        Omniglot(root=str(tmp_path)).check()


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_drawing_in_both_background_sets_is_taken_once(tmp_path: Path, unpacked: bool) -> None:
    """As in the published sets, whose second one repeats two alphabets of the first."""
    folder = write(tmp_path)
    with zipfile.ZipFile(folder / "images_background_small2.zip", "a") as archive:
        for drawer in range(1, 6):
            archive.writestr(f"images_background_small2/Greek/character01/0001_{drawer:02}.png", png(200))
        archive.writestr("images_background_small2/Greek/character01/0001_06.png", png(100))  # another drawing
    if unpacked:
        for path in sorted(folder.glob("images*.zip")):
            zipfile.ZipFile(path).extractall(folder / path.stem)
            path.unlink()
    data = Omniglot(root=str(tmp_path), size=16, valid=0).open(CPU)
    assert data.sizes()["train"] == 21
    image, label = data.split("train").take(21, ("image", "label"))
    assert label.bincount(minlength=4)[:4].tolist() == [6, 5, 5, 5]
    assert ((image.mean((1, 2, 3)) * 255).round() == 100).sum() == 1
    assert Omniglot(root=str(tmp_path), background="small2", size=16, valid=0).open(CPU).sizes()["train"] == 16


@pytest.mark.parametrize("line", ["run01/test/item01.png", "run01/test/item01.png ../../secret.png", "a b c",
                                  "run01/test/item01.png run02/training/class01.png"])  # fmt: skip
def test_a_damaged_list_is_one_line(tmp_path: Path, line: str) -> None:
    folder = write(tmp_path)
    zipfile.ZipFile(folder / "all_runs.zip").extractall(folder / "all_runs")
    (folder / "all_runs.zip").unlink()
    (folder / "all_runs" / "run01" / "class_labels.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=r"class_labels\.txt is damaged") as error:
        Omniglot(root=str(tmp_path), size=16).open(CPU)
    assert "\n" not in str(error.value)


def test_a_lost_example_does_not_make_an_image_to_classify_the_example(tmp_path: Path) -> None:
    folder = write(tmp_path)
    zipfile.ZipFile(folder / "all_runs.zip").extractall(folder / "all_runs")
    (folder / "all_runs.zip").unlink()
    (folder / "all_runs" / "run01" / "training" / "class02.png").write_bytes(b"no image")
    split = Omniglot(root=str(tmp_path), size=16, on_error="skip").open(CPU).split("test")
    image, episode = split.take(11, ("image", "episode"))
    assert torch.equal((image.mean((1, 2, 3)) * 255).round().long() % 10, episode[:, 1])  # the files say it
    assert episode[:, 1].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    rng.seed(0)
    found = dict(FewShot(features="pixels", distance="euclidean").run(Shrinker(), split))
    assert found["error"] == 0  # an image whose class has no example is not classified


@pytest.mark.parametrize("digits", ["99999999999999999999", "9" * 5000])
def test_the_number_of_a_run_has_at_most_four_digits(tmp_path: Path, digits: str) -> None:
    """Longer ones fit no integer column, and Python refuses to read the longest."""
    folder = write(tmp_path, runs=0)
    with zipfile.ZipFile(folder / "all_runs.zip", "a") as archive:
        archive.writestr(f"run{digits}/class_labels.txt", f"run{digits}/test/item1.png run{digits}/training/class1.png")
        for name in ("training/class1.png", "test/item1.png"):
            archive.writestr(f"run{digits}/{name}", png(10))
    with pytest.raises(DataError, match="holds no runs"):
        Omniglot(root=str(tmp_path), size=16).open(CPU)


def test_an_archive_without_runs_is_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path)
    shutil.copy(folder / "images_background_small1.zip", folder / "all_runs.zip")
    with pytest.raises(DataError, match="holds no runs"):
        Omniglot(root=str(tmp_path), size=16).open(CPU)

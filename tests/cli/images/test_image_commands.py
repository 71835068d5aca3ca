"""What is done with trained runs: sample, reconstruct, interpolate, translate, eval, runs, resume."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.cli import main
from tests.support.commands import SMALL_VAE, Refused, said

COMMON = ["trainer.steps=3", "trainer.batch_size=16", "evaluator=objective", "logger=jsonl"]
SMALL_GAN = ["model=dcgan", "dataset.size=32", "model.generator.base_channels=8", "model.discriminator.base_channels=8"]
SMALL_CYCLEGAN = [
    "model=cyclegan", "model.generator.base_channels=2", "model.generator.blocks=1",
    "model.discriminator.base_channels=2",
    "dataset=unpaired", "dataset.base={name: digits}", "dataset.classes=[4,9]", "dataset.size=null",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """outputs/ with a VAE and a DCGAN, three steps each."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("trained")
        patch.chdir(root)
        patch.setenv("GENLAB_CACHE", str(cache))
        assert main.main(["train", *SMALL_GAN, *COMMON, "hydra.run.dir=outputs/gan/a"]) == 0
        assert main.main(["train", *SMALL_CYCLEGAN, *COMMON, "hydra.run.dir=outputs/cyclegan/c"]) == 0
        assert main.main(["train", *SMALL_VAE, *COMMON, "hydra.run.dir=outputs/vae/b"]) == 0
    return root / "outputs"


@pytest.fixture
def outputs(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    shutil.copytree(trained, tmp_path / "outputs")
    capsys.readouterr()
    return tmp_path / "outputs"


@pytest.mark.usefixtures("outputs")
@pytest.mark.parametrize(
    ("arguments", "rows", "columns"),
    [
        (["sample", "last"], 8, 8),
        (["sample", "outputs/gan/a", "n=6", "columns=3"], 2, 3),
        (["sample", "vae/b", "n=300", "columns=30"], 10, 30),  # more than one part
        (["reconstruct", "last", "n=8", "columns=4"], 4, 4),
        (["reconstruct", "last", "n=7", "columns=4", "split=train"], 4, 4),  # a last row that is not whole
        (["denoise", "last", "n=8", "sigma=0.5", "columns=4"], 6, 4),
        (["inpaint", "last", "n=6", "columns=4", "box=0.5"], 6, 4),
        (["interpolate", "last", "n=3", "steps=5"], 6, 5),
        (["interpolate", "last", "n=3", "steps=5", "mode=slerp"], 3, 5),
        (["interpolate", "last", "n=3", "steps=5", "mode=lerp", "between=data"], 3, 5),
        (["interpolate", "gan/a", "n=2", "steps=4"], 4, 4),
        (["translate", "cyclegan/c", "n=6", "columns=3"], 4, 3),
        (["translate", "cyclegan/c", "n=5", "columns=4", "direction=ba"], 4, 4),
    ],
)
def test_pictures(arguments: list[str], rows: int, columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    from genlab.reports.grid import image_grid

    path = Path(said(capsys, *arguments, "captions=false").strip())
    side = 32 if any("gan" in argument for argument in arguments) else 8
    pixels = image_grid(torch.zeros(rows * columns, 1, side, side), columns).pixels
    assert path.parent.name == "images"
    with Image.open(path) as image:
        assert (image.height, image.width) == tuple(pixels.shape[1:])
        assert np.asarray(image).std() > 0


@pytest.mark.usefixtures("outputs")
def test_pictures_of_ones_own_are_restored_without_the_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.workflows.build.LoadedRun.data", None)
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(3):
        pixels = np.zeros((30, 40, 3), np.uint8)
        pixels[:, :20] = 255  # white on the left
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no picture")
    one = Image.open(
        said(capsys, "denoise", "last", f"image={folder / '0.png'}", "captions=false", "out=one.png").strip()
    )
    many = Image.open(
        said(capsys, "inpaint", "last", f"image={folder}", "box=0.25", "captions=false", "out=many.png").strip()
    )
    assert many.width > one.width
    sheet = np.asarray(one)
    side = (many.height - 2) // 3
    assert one.height == 2 + 2 * side  # taken to be noisy: nothing is added, and no row shows it
    clean = sheet[2:side, 2:-2]
    assert clean[:, :16].min() == 255
    assert clean[:, -16:].max() == 0


@pytest.mark.usefixtures("outputs")
def test_a_denoised_picture_of_ones_own_is_named_after_it_and_told_that_it_got_no_noise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("x.png", "x.bmp"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(name)
    made = set()
    for name, more in (("x.png", []), ("x.bmp", []), ("x.png", ["sigma=0.5"])):
        assert main.main(["denoise", "last", f"image={name}", *more]) == 0
        out, err = capsys.readouterr()
        made.add(Path(out.strip()).name)
        assert ("no noise is added" in err and "sigma=0.3" in err) == (not more)
    assert len(made) == 3
    assert all(re.fullmatch(r"denoised-(sigma0\.5-)?x-\w{6}\.png", name) for name in made), made


@pytest.mark.usefixtures("outputs")
def test_a_picture_that_cannot_be_read(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    assert "cannot be read" in refused("denoise", "last", f"image={tmp_path / 'broken.png'}", code=3)
    assert "holds no images" in refused("denoise", "last", f"image={tmp_path / 'empty'}", code=3)
    assert "is not there" in refused("inpaint", "last", "image=nowhere.png", code=3)


def test_the_seed_decides(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        Path(said(capsys, "sample", "last", f"seed={seed}", f"out=s{i}.png").strip())
        for i, seed in enumerate((1, 1, 2))
    ]
    same, again, other = (file.read_bytes() for file in files)
    assert same == again
    assert same != other


def test_samples_can_be_had_as_numbers(outputs: Path, capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    from genlab.utils import image_file

    for kind in image_file.ARRAYS:
        path = Path(said(capsys, "sample", "last", "n=300", f"out=deep/s{kind}").strip())
        assert image_file.read(path).shape == (300, 1, 8, 8)
    picture = Image.open(said(capsys, "sample", "last", "n=1", "out=one.png").strip())
    [first] = image_file.read(Path("deep/s.npy"))[0].tolist()
    [again] = image_file.read(Path(said(capsys, "sample", "last", "n=1", "out=one.npy").strip()))[0].tolist()
    assert again == [[picture.getpixel((2 + 8 * x, 2 + 8 * y)) for x in range(8)] for y in range(8)]
    assert len(first) == 8
    assert "out=samples.npz" in refused("sample", "last", "n=20000")
    assert "ending in .png or .npy or .npz" in refused("sample", "last", "out=x.gif")


def test_a_conditional_model_draws_the_class_that_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    run = ["model=cvae", "experiment=quick", "trainer.steps=2", "evaluator=none", "hydra.run.dir=outputs/c"]
    said(capsys, "train", *run)
    for label in (1, 2):
        assert f"label{label}" in said(capsys, "sample", "c", "n=4", f"label={label}")
    record = json.loads(Path("outputs/c/run.json").read_text())
    assert record["model"]["options"] == {"sample": {"label": []}}  # for completion
    assert re.search(r"label=null\n +a class[^=]*integer ≥ 0 or", said(capsys, "info", "c"))
    one, two = (Path(f"outputs/c/images/samples-n4-seed0-label{label}.png").read_bytes() for label in (1, 2))
    assert one != two  # the noise is the same
    assert "a label from 0 to 9" in refused("sample", "c", "label=10")
    for name in ("probe", "knn", "tsne", "plane", "anomaly"):
        assert "does not apply to model 'cvae', which takes the label" in refused("eval", "c", f"evaluator={name}")
    assert "needs the label of an image" in refused("anomaly", "c")


def test_anomaly_without_validation_images_says_what_to_do(
    capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    said(capsys, "train", *SMALL_VAE, *COMMON, "dataset.valid=0", "evaluator=none", "hydra.run.dir=outputs/v")
    for words in (["anomaly", "v"], ["eval", "v", "evaluator=anomaly"], ["eval", "v", "split=valid"]):
        line = refused(*words)
        assert "no image in its valid split" in line
        assert "train with dataset.valid=0.1" in line


def test_a_model_without_labels_takes_none(outputs: Path, refused: Refused) -> None:
    line = refused("sample", "outputs/gan/a", "label=1")
    assert (
        "unknown key 'label'; genlab sample of model 'dcgan' has no such key; choose one of: captions, codes, columns"
        in line
    )


def test_rows_of_originals_above_their_reconstructions(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from genlab.reports.grid import image_grid
    from genlab.workflows.build import load

    path = said(capsys, "reconstruct", "last", "n=4", "columns=2", "captions=false").strip()
    (images,) = load("last").data().split("test").take(4, ("image",))
    sheet = np.asarray(Image.open(path))
    first_row = image_grid(images[:2], 2).pixels[0].numpy()
    assert np.array_equal(sheet[: first_row.shape[0] - 2], first_row[:-2])
    third_row = image_grid(images[2:], 2).pixels[0].numpy()
    height = (sheet.shape[0] - 2) // 4
    assert np.array_equal(sheet[2 * height : 3 * height], third_row[:-2])


@pytest.mark.usefixtures("outputs")
def test_what_a_model_cannot_do(refused: Refused) -> None:
    line = refused("reconstruct", "gan/a")
    assert "lacks Reconstructs" in line
    assert "try genlab sample or genlab interpolate" in line
    assert "no codes from data" in refused("interpolate", "gan/a", "between=data")
    assert ".png" in refused("sample", "last", "out=x.jpg")
    assert "cannot write" in refused("sample", "last", "out=/proc/nowhere/x.png")
    assert "unknown evaluator" in refused("eval", "last", "evaluator=objectiv")
    assert "does not apply" in refused("eval", "gan/a", "evaluator=reconstructions")
    assert "'evaluator.objective.batch_size'" in refused("eval", "last", "evaluator.objective.batch_size=0")
    assert "unknown key 'foo'" in refused("eval", "last", "foo=1")
    assert "did you mean 'evaluator.objective.batch_size'?" in refused("eval", "last", "batch_size=9")
    assert "did you mean 'images'?" in refused("eval", "last", "evaluator=fid", "evaluator.fid.imagess=9")
    assert "choose it too: evaluator=[...,kid]" in refused("eval", "last", "evaluator=fid", "evaluator.kid.images=9")
    assert "did you mean 'fid'?" in refused("eval", "last", "evaluator=[objective,fidd]")
    assert "write [a,b] for a list" in refused("eval", "last", "evaluator=objective,samples")
    assert "choose one evaluator" in refused("eval", "last", "evaluator=[objective,samples]", "name=both")
    assert "lacks Reconstructs" in refused("inpaint", "gan/a")
    assert "'evaluator.denoise.amounts'" in refused(
        "eval", "last", "evaluator=denoise", "evaluator.denoise.amounts=[0.1,-1]"
    )
    assert "'name'" in refused("eval", "last", "name=../../x")
    assert "unknown key 'trainer.stepz'" in refused("resume", "last", "trainer.stepz=4")


def test_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "broken").mkdir()
    (outputs / "broken" / "run.json").write_text("{")
    (outputs / "odd").mkdir()
    (outputs / "odd" / "run.json").write_text('{"status": 3, "model": [], "best": {"value": "x"}, "started": "y"}')
    lines = said(capsys, "runs").splitlines()
    assert lines[0].split() == ["status", "model", "data", "step", "best", "evaluated", "folder"]
    rows = {line.split()[-1]: line.split() for line in lines[1:]}
    assert rows["outputs/gan/a"][:4] == ["done", "dcgan", "digits", "3/3"]
    assert (rows["outputs/gan/a"][4], rows["outputs/gan/a"][6]) == ("valid/discriminator/loss", "(last)")
    assert rows["outputs/vae/b"][:5] == ["done", "vae", "digits", "3/3", "valid/loss"]
    assert rows["outputs/broken"][0] == "damaged"
    assert rows["outputs/odd"][0] == "damaged"


def test_resume(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "resume", "last", "trainer.steps=5")
    assert json.loads((outputs / "vae" / "b" / "run.json").read_text())["step"] == 5


@pytest.mark.usefixtures("outputs")
def test_pictures_of_ones_own_are_translated_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("one.png", "two.jpg", "two.bmp"):
        Image.new("RGB", (20, 16), (200, 100, 0)).save(own / name)
    words = ["translate", "cyclegan/c", f"input={own}", "folder=made", "captions=false", "out=both.png", "n=2"]
    lines = said(capsys, *words).splitlines()
    assert lines == ["made/one.png.png", "made/two.bmp.png", "made/two.jpg.png", "both.png"]
    with Image.open("made/one.png.png") as made:
        assert made.size == (8, 8)
    with Image.open("both.png") as both:
        assert both.size == (2 + 66 * 2, 2 + 66 * 2)
    lines = said(capsys, "translate", "cyclegan/c", f"input={own / 'one.png'}", "folder=here").splitlines()
    assert lines[0] == "here/one.png"


@pytest.mark.usefixtures("outputs")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vae/b"], "it lacks Translates"),
        (["vae/b", "direction=ba"], "it lacks Translates"),
        (["cyclegan/c", "input=nowhere"], "'nowhere' is not there; key input"),
        (["cyclegan/c", "direction=aa"], "'direction'"),
    ],
)
def test_what_cannot_be_translated_is_said_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["translate", *arguments]) in (2, 3)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_model_of_another_corruption_is_told_which_one_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["model=denoising_ae", "model.network.hidden=[8]", "model.latent_dim=2", "trainer.steps=1"]
    assert main.main(["train", *small, "evaluator=none", "logger=jsonl", "hydra.run.dir=outputs/d"]) == 0
    capsys.readouterr()
    for command, warned in (("inpaint", True), ("denoise", False)):
        assert main.main([command, "d", "n=2"]) == 0
        out, err = capsys.readouterr()
        assert Path(out.strip()).is_file()
        assert ("was trained on gaussian corruption" in err and "model.corruption.name=box" in err) == warned

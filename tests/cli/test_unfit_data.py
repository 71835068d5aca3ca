"""Data that do not fit: sets made of another one, refused before anything is decoded; what evaluators find to lack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genlab.cli import main
from genlab.nn.pretrained.package_weights import PackageWeights
from tests.support import synthetic
from tests.support.commands import Refused

DIGITS = "dataset.base={name: digits}"
ZERO_ONE = "dataset.classes=[0,1]"
SAMPLES = "dataset.samples=s.npy"
PAIRS, OTHER, POINTS = "holds pairs already", "is made of another one already", "holds points, not images"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which a store that is made would be seen; beside it samples, and four faces."""
    cache = tmp_path_factory.mktemp("fresh")
    monkeypatch.setenv("GENLAB_CACHE", str(cache))
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "data"))
    np.save(tmp_path / "s.npy", np.zeros((2000, 1, 8, 8), np.uint8))
    synthetic.celeba(tmp_path / "data", 4)
    return cache


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["unpaired", "dataset.base={name: unpaired}", ZERO_ONE],
            f"'unpaired' {PAIRS}; key dataset.base.name; choose one",
        ),
        (["unpaired", "dataset.base={name: colorize}", "dataset.attribute=Attribute_0"], f"'colorize' {PAIRS}"),
        (["unpaired", "dataset.base={name: ring}", ZERO_ONE], f"'ring' {POINTS}; key dataset.base.name"),
        (["unpaired", "dataset.base={name: stacked_mnist}", ZERO_ONE], f"'stacked_mnist' {OTHER}"),
        (["unpaired", "dataset.base={name: generated}", ZERO_ONE], f"'generated' {OTHER}"),
        (["colorize", "dataset.base={name: colorize}"], f"'colorize' {PAIRS}; key dataset.base.name"),
        (["colorize", "dataset.base={name: facades}"], f"'facades' {PAIRS}"),
        (["colorize", "dataset.base={name: dirac}"], f"'dirac' {POINTS}"),
        (["colorize", DIGITS, "dataset.size=null"], "'digits' are already gray; key dataset.base"),
        (["generated", SAMPLES, "dataset.real={name: paired}"], f"'paired' {PAIRS}; key dataset.real.name"),
        (["generated", SAMPLES, "dataset.real={name: grid}"], f"'grid' {POINTS}"),
        (["generated", SAMPLES, "dataset.real={name: generated}"], f"'generated' {OTHER}"),
        (["unpaired", DIGITS, "dataset.classes=[3,3]"], "both domains are the same class; key dataset.classes=[3, 3]"),
        (["unpaired", DIGITS, "dataset.classes=[0,12]"], "'digits' has no class 12; key dataset.classes=[0, 12]"),
        (["unpaired", DIGITS, "dataset.attribute=x"], "'digits' has classes, not attributes; key dataset.attribute=x"),
        (["unpaired", "dataset.base={name: celeba}", "dataset.attribute=Attribut_3"], "did you mean 'Attribute_3'?"),
        (["unpaired", "dataset.base={name: celeba}"], "keys dataset.attribute, dataset.classes; give one of them"),
        (
            ["unpaired", "dataset.base={name: digits, sizze: 8}", ZERO_ONE],
            "'dataset.base.sizze'; dataset.base has no such",
        ),
        (["colorize", "dataset.base={name: celeba, sizze: 8}"], "did you mean 'size'?"),
        (["generated", SAMPLES, "dataset.real={name: digits, sizze: 8}"], "unknown key 'dataset.real.sizze'"),
        (["colorize", "dataset.base={name: folder, size: 8}"], "key dataset.base.root; add dataset.base.root=PATH"),
        (["generated", SAMPLES, "dataset.real={name: folder}"], "key dataset.real.root; add dataset.real.root=PATH"),
        (["generated", SAMPLES, "dataset.real={name: digits, size: 16}"], "real images (1, 16, 16)"),
        (["generated", SAMPLES, "dataset.real={name: digits}", "model=cyclegan"], "learns from pairs of images"),
    ],
)
def test_what_cannot_be_made_of_another_data_set(words: list[str], said: str, refused: Refused, fresh: Path) -> None:
    assert said in refused("train", f"dataset={words[0]}", *words[1:])
    assert not list(fresh.rglob("images.npy"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=dcgan", "+evaluator.fid={name: fid}"], "no extractor for data set 'digits'"),
        (["model=dcgan", "+evaluator.copies={name: memorization}"], "no extractor for data set"),
        (["model=gan", "+evaluator.modes={name: modes}"], "use dataset=ring, grid or stacked_mnist"),
        (["model=vae", "dataset=celeba", "+evaluator.knn={name: knn}"], "several attributes an image"),
        (
            ["model=cyclegan", "dataset=unpaired", DIGITS, ZERO_ONE, "dataset.size=null", "evaluator=translation"],
            "no targets to be compared with; evaluator translation",
        ),
    ],
)
def test_what_an_evaluator_lacks_is_said_before_training(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PackageWeights, "available", lambda self: False)
    assert main.main(["train", *words]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["colorize", "dataset.base={name: folder, root: nowhere}"], "dataset.base.root"),
        (["colorize", "dataset.base={name: folder}", "dataset.root=nowhere"], "dataset.root"),  # laid over it
        (["generated", SAMPLES, "dataset.real={name: mnist, root: nowhere}"], "dataset.real.root"),
    ],
)
def test_a_missing_folder_is_asked_for_where_it_was_given(words: list[str], key: str, refused: Refused) -> None:
    assert f"; key {key}; " in refused("train", f"dataset={words[0]}", *words[1:], code=3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generated", SAMPLES, "dataset.real={name: digits, valid: 2000}"], "key dataset.real.valid; hold out fewer"),
        (["generated", SAMPLES, "dataset.real={name: digits, classes: [12]}"], "of class 12; key dataset.real.classes"),
        (["generated", SAMPLES, "dataset.real={name: digits, num_labels: 3}"], "key dataset.real.num_labels"),
        (["unpaired", "dataset.base={name: digits, classes: [4]}", "dataset.classes=[4,9]"], "domain b has no"),
    ],
)  # fmt: skip
def test_splits_of_a_data_set_within_another_name_their_keys(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["train", f"dataset={words[0]}", *words[1:]]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_an_unreadable_picture_names_the_key_that_leaves_it_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "celeba" / "img_align_celeba" / "000001.jpg").write_bytes(b"")
    assert main.main(["train", "dataset=colorize", "model=pix2pix"]) == 3
    assert capsys.readouterr().err.endswith("leave such images out with dataset.base.on_error=skip\n")


def test_keys_of_the_inner_data_set_are_given_with_its_name_or_one_by_one() -> None:
    from genlab.config.compose import compose

    whole = compose(["dataset=colorize", "dataset.base={name: folder, root: mine, valid: 7}"]).config["dataset"]["base"]
    words = ["dataset.base.name=folder", "dataset.base.root=mine", "dataset.base.valid=7"]
    assert compose(["dataset=colorize", *words]).config["dataset"]["base"] == whole
    assert whole == {"name": "folder", "root": "mine", "valid": 7}

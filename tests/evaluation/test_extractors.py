"""The classifiers that come with genlab, Inception's place, which extractor is chosen, and what is remembered."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import pad

from genlab.data.datasets.mnist import MNIST, FashionMNIST
from genlab.errors import ConfigError, DataError
from genlab.evaluation import extraction
from genlab.evaluation.extraction import choose_extractor, features_of, in_parts, shipped
from genlab.evaluation.extractors import inception
from genlab.evaluation.extractors.classifiers import WEIGHTS, SmallClassifier, to_28
from genlab.evaluation.extractors.pixels import Pixels
from genlab.registry import EVALUATORS, EXTRACTORS, discover
from tests.support.in_memory import in_memory

discover()
KEY = "evaluator.fid.extractor"
SETS = {"mnist": (MNIST, 0.99), "fashion_mnist": (FashionMNIST, 0.92)}


@pytest.mark.parametrize("name", SETS)
def test_the_weights_are_those_that_their_card_describes(name: str) -> None:
    weights, card = WEIGHTS / f"{name}.safetensors", json.loads((WEIGHTS / f"{name}.json").read_text())
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == card["sha256"] == SmallClassifier(name).digest
    assert weights.stat().st_size < 500_000
    assert card["command"] == f"python scripts/train_extractor.py {name}"
    assert card["accuracy"]["test"] >= SETS[name][1]
    assert importlib.resources.files("genlab.evaluation.extractors").joinpath(f"weights/{name}.safetensors").is_file()


@pytest.mark.parametrize("name", SETS)
def test_the_cards_accuracy_is_what_test_images_give(name: str, real_data: Path) -> None:
    data = SETS[name][0]().open(torch.device("cpu"))
    image, label = data.split("test").take(2000, ("image", "label"))
    classifier = SmallClassifier(name)
    right = (classifier.predict(image) == label).float().mean()
    assert right == pytest.approx(json.loads((WEIGHTS / f"{name}.json").read_text())["accuracy"]["test"], abs=0.015)
    fractions = classifier.fractions(classifier(image))
    assert fractions.sum() == pytest.approx(1)
    assert torch.equal(fractions, classifier.predict(image).bincount(minlength=10).double() / len(image))


def test_a_border_of_zeros_changes_nothing_and_other_sizes_are_resized() -> None:
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    classifier = SmallClassifier("mnist")
    assert torch.equal(classifier(pad(images, (2, 2, 2, 2))), classifier(images))  # 32 px, as `dataset.size` makes them
    assert torch.equal(classifier(pad(images, (0, 1, 0, 1))), classifier(images))  # 29 px
    for side in (8, 64):
        assert to_28(torch.rand(2, 1, side, side)).shape == (2, 1, 28, 28)
    assert torch.allclose(to_28(torch.full((1, 1, 56, 56), 0.3)), torch.full((1, 1, 28, 28), 0.3))
    with pytest.raises(
        ConfigError,
        match=r"takes images of 1 channel, these have 3; the extractor of data set mnist; use another",
    ):
        classifier(torch.rand(1, 3, 28, 28))


def test_auto_is_the_data_sets_own_classifier() -> None:
    gray = torch.zeros(80, 1, 4, 4, dtype=torch.uint8)
    for table, name in (("mnist", "mnist"), ("generated_fashion_mnist", "fashion_mnist")):
        assert choose_extractor("auto", in_memory(gray, name=table).split("valid"), KEY).name == name
        assert shipped(table) == name
    other = in_memory(gray, name="celeba").split("valid")
    assert choose_extractor("pixels", other, KEY).name == "pixels"
    with pytest.raises(ConfigError, match="did you mean 'mnist'"):
        EVALUATORS.check({"name": "fid", "extractor": "mnits"})


def test_inception_says_where_its_weights_belong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"missing; key extractor; put them at {tmp_path}/inception/pt_inc"):
        EXTRACTORS.build({"name": "inception"}, "extractor")
    (tmp_path / "inception").mkdir()
    place = tmp_path / "inception" / inception.FILES[0]
    for damaged in (b"not weights", b"", b"\x80\x02"):  # errors of the last two have no message
        place.write_bytes(damaged)
        with pytest.raises(DataError, match="holds no weights"):
            EXTRACTORS.build({"name": "inception"}, "extractor")
    torch.save({"fc.weight": torch.zeros(2, 2)}, place)
    with pytest.raises(DataError, match="weights of another network"):
        EXTRACTORS.build({"name": "inception"}, "extractor")


def test_weights_far_longer_than_inceptions_are_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    (tmp_path / "inception").mkdir()
    with (tmp_path / "inception" / inception.FILES[0]).open("wb") as file:
        file.truncate(2**34)  # takes no room on the disk
    with pytest.raises(DataError, match="too long for Inception's weights"):
        inception.Inception()


def test_inceptions_pooling_leaves_the_padding_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models.inception import InceptionA, InceptionE

    torch.manual_seed(0)
    x = torch.rand(1, 8, 5, 5) + 1
    for block, kind in ((InceptionA(8, 4), "mean"), (InceptionE(8), "max")):
        block.eval()
        plain = block(x)
        convolution = block.branch_pool
        inception._repool(block, kind)
        pooled = block(x)
        width = convolution.conv.out_channels
        assert torch.equal(plain[:, :-width], pooled[:, :-width])  # the other branches are as they were
        whole = x[:, :, 0:2, 0:2]  # what a corner's window holds of the image
        corner = whole.mean((2, 3)) if kind == "mean" else whole.amax((2, 3))
        expected = convolution(corner[:, :, None, None])
        torch.testing.assert_close(pooled[:, -width:, :1, :1], expected)


def test_features_of_data_are_remembered_by_bytes_extractor_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Counting(Pixels):
        digest = "weights"

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append(len(images))
            return super().forward(images)

    first = torch.randint(0, 256, (80, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    split = in_memory(first, name="once").split("valid")
    found = features_of(Counting(), split)
    assert torch.equal(found, split.take(60, ("image",))[0].flatten(1))
    assert torch.equal(features_of(Counting(), split), found)
    assert sum(calls) == 60
    changed = first.clone()
    changed[-1, 0, 0, 0] ^= 1  # one bit of one image
    features_of(Counting(), in_memory(changed, name="once").split("valid"))
    assert sum(calls) == 120
    damaged = next(extraction.cache_folder().joinpath("features").glob("pixels-60-*"))
    for path in damaged.parent.glob("pixels-60-*"):
        path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(features_of(Counting(), split), found)  # a damaged memory is made again
    assert sum(calls) == 180


def test_parts_are_put_together_in_order() -> None:
    sizes = []

    def network(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return part.flatten(1)

    images = torch.rand(11, 1, 2, 2)
    assert torch.equal(in_parts(network, images, 4), images.flatten(1))
    assert sizes == [4, 4, 3]


def test_inceptions_images_are_in_its_range_and_size_in_three_channels() -> None:
    gray = torch.rand(2, 1, 8, 8).round()  # bicubic resizing overshoots at edges
    found = inception.to_input(gray)
    assert found.shape == (2, 3, 299, 299)
    assert found.aminmax() == (-1, 1)
    assert torch.equal(found[:, 0], found[:, 2])

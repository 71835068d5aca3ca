"""Arrays and torch datasets as data sets: what they may hold, from Python, from files, from a plug-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision.datasets import FakeData
from torchvision.transforms import RandomHorizontalFlip, ToTensor

import genlab
from genlab.cli import main
from genlab.data.adapt import adapt, build_dataset, pass_samples, samples_hash
from genlab.data.loader import Data
from genlab.errors import ConfigError, DataError, GenlabError
from genlab.registry import DATASETS, discover

discover()
CPU = torch.device("cpu")
TINY = ["trainer.batch_size=8", "logger=jsonl", "evaluator=objective", "model.network.hidden=[8]"]
RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (40, 8, 8), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (40, 8, 6, 3), dtype=np.uint8)


def pixels(data: Data) -> np.ndarray:
    """All images of a data set, in the order of the source."""
    stored = [data.split(name) for name in ("train", "valid", "test")]
    images = torch.cat([split.take(999, ("image",))[0] for split in stored])
    return images[torch.cat([split.indices for split in stored]).argsort()].mul(255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (GRAY, GRAY[:, None]),
        (GRAY[:, None], GRAY[:, None]),
        (torch.from_numpy(GRAY), GRAY[:, None]),
        (GRAY / np.float32(255), GRAY[:, None]),
        (GRAY > 99, (GRAY[:, None] > 99) * np.uint8(255)),
        (COLOR, COLOR.transpose(0, 3, 1, 2)),
        (torch.from_numpy(COLOR).permute(0, 3, 1, 2), COLOR.transpose(0, 3, 1, 2)),
        ([Image.fromarray(each) for each in COLOR], COLOR.transpose(0, 3, 1, 2)),
        ([{"image": each} for each in GRAY], GRAY[:, None]),
    ],
)
def test_images_of_any_layout_are_stored_unchanged(samples: Any, expected: np.ndarray) -> None:
    data = adapt(samples).open(CPU)
    assert np.array_equal(pixels(data), expected)
    assert (data.columns, data.points, data.sizes()) == (("image",), False, {"train": 32, "valid": 4, "test": 4})


def test_labels_are_classes_or_attributes_and_splits_are_stratified() -> None:
    digits = adapt((GRAY, np.arange(40) % 4 + 3), valid=8, test=8).open(CPU)
    assert digits.label_names == ["3", "4", "5", "6"]
    assert np.bincount(digits.split("valid").classes()).tolist() == [2, 2, 2, 2]
    words = adapt((GRAY, ["cat", "dog"] * 20), classes=[1]).open(CPU)
    assert words.label_names == ["cat", "dog"]
    assert set(words.split("train").classes().tolist()) == {1}
    attributes = adapt((GRAY, RNG.integers(0, 2, (40, 5)))).open(CPU)
    assert (attributes.multi_label, attributes.num_classes) == (True, 5)
    assert adapt((GRAY, np.arange(40) % 4), num_labels=8).open(CPU).sizes()["train"] == 8


def test_torchvision_datasets_keep_their_labels_and_are_resized() -> None:
    fake = FakeData(30, (3, 20, 24), num_classes=4)
    fake.classes = ["a", "b", "c", "d"]
    data = adapt(fake, size=16, valid=0, test=0).open(CPU)
    assert (data.shape, data.label_names) == ((3, 16, 16), ["a", "b", "c", "d"])
    image, label = data.split("train").take(30, ("image", "label"))
    assert label.tolist() == [int(fake[i][1]) for i in range(30)]
    square = fake[7][0].resize((16, 16), Image.Resampling.BILINEAR, box=(2, 0, 22, 20))
    assert np.abs(image[7].mul(255).permute(1, 2, 0).numpy() - np.asarray(square)).max() <= 1
    tensors = adapt(FakeData(30, (3, 20, 24), transform=ToTensor())).open(CPU)
    assert np.array_equal(pixels(tensors)[5], np.asarray(fake[5][0]).transpose(2, 0, 1))


def test_points_keep_their_range_and_a_gan_learns_them(tmp_path: Path) -> None:
    points = RNG.normal(0, 50, (64, 2))
    data = adapt(points, valid=0, test=0).open(CPU)
    assert (data.shape, data.points) == ((2, 1, 1), True)
    assert torch.equal(data.split("train").take(64, ("image",))[0].flatten(1), torch.from_numpy(points).float())
    words = ["model=gan", "model.output=linear", "trainer.steps=2", "trainer.batch_size=8", "evaluator=none"]
    genlab.train([*words, "logger=jsonl", f"hydra.run.dir={tmp_path / 'run'}"], dataset=points)
    with pytest.raises(ConfigError, match="are points"):
        genlab.train(["model=vae", "evaluator=none"], dataset=points)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return genlab.load(run).state_dict()


def test_a_run_on_a_passed_array_resumes_exactly_and_other_processes_find_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = (GRAY, np.arange(40) % 4)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    genlab.train([*TINY, "dataset.flip=true", "trainer.steps=8", f"hydra.run.dir={whole}"], dataset=samples)
    genlab.train([*TINY, "dataset.flip=true", "trainer.steps=4", f"hydra.run.dir={halves}"], dataset=samples)
    monkeypatch.setattr("genlab.data.adapt.PASSED", {})  # as in another process
    monkeypatch.setattr("genlab.data.datasets.array.PASSED", {})
    assert main.main(["resume", str(halves), "trainer.steps=8"]) == 0
    first, second = weights(whole), weights(halves)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert main.main(["eval", str(whole), "evaluator=objective"]) == 0
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "empty"))
    assert main.main(["eval", str(whole), "evaluator=objective"]) == 3
    assert "passed from Python, and their store is gone" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(GenlabError, match="data"):  # other images, the same run
        genlab.train([*TINY, "trainer.steps=9", f"hydra.run.dir={whole}"], dataset=GRAY)


def test_a_plug_in_is_a_function_that_returns_samples() -> None:
    @DATASETS("fake_for_tests")
    def fake(side: int = 8) -> Any:
        return FakeData(20, (3, side, side), num_classes=2)

    data = build_dataset({"name": "fake_for_tests", "side": 6}, seed=3).open(CPU)
    assert (data.name, data.shape, data.sizes()["test"]) == ("fake_for_tests", (3, 6, 6), 2)
    other = build_dataset({"name": "fake_for_tests", "side": 6}, seed=4).open(CPU)
    assert data.fingerprint == other.fingerprint
    assert not torch.equal(*(each.batches(("image",), 8).at(0)[0] for each in (data, other)))  # the order differs
    with pytest.raises(ConfigError, match=r"dataset\.sid"):
        build_dataset({"name": "fake_for_tests", "sid": 6}, seed=3)
    del DATASETS._entries["fake_for_tests"]


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_file_of_arrays_trains_from_the_command_line(tmp_path: Path, kind: str) -> None:
    if kind == "npy":
        np.save(tmp_path / "images.npy", GRAY)
    else:
        np.savez_compressed(tmp_path / "images.npz", images=GRAY, labels=np.arange(40) % 4)
    words = ["train", "dataset=array", f"dataset.path=images.{kind}", "trainer.steps=2", *TINY]
    assert main.main([*words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    data = build_dataset({"name": "array", "path": str(tmp_path / f"images.{kind}")}, seed=0).open(CPU)
    assert np.array_equal(pixels(data), GRAY[:, None])
    assert data.num_classes == (None if kind == "npy" else 4)


def test_one_data_set_is_given() -> None:
    with pytest.raises(ConfigError, match="the overrides say dataset=digits"):
        genlab.train(["dataset=digits"], dataset=GRAY)


class Labeled(torch.utils.data.Dataset[Any]):
    """1,000 equal images; `targets` only if asked for."""

    def __init__(self, labels: Any, attribute: bool) -> None:
        self._labels = labels
        if attribute:
            self.targets = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Any:
        return GRAY[0], int(self._labels[index])


@pytest.mark.parametrize("attribute", [True, False])
@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_one_other_label_makes_another_data_set(attribute: bool, kind: Any) -> None:
    labels = [0] * 1000
    other = [*labels[:776], 1, *labels[777:]]
    hashes = [samples_hash(Labeled(kind(each), attribute)) for each in (labels, labels, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_tensors_that_require_gradients_are_samples() -> None:
    images = torch.from_numpy(GRAY).div(255).requires_grad_()
    assert np.array_equal(pixels(adapt(images).open(CPU)), GRAY[:, None])


def test_points_have_no_size() -> None:
    with pytest.raises(ConfigError, match=r"points have no size; key dataset\.size; leave it out"):
        adapt(np.zeros((5, 2)), size=8).open(CPU)


def test_an_array_elsewhere_is_the_same_data(tmp_path: Path) -> None:
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        np.save(folder / "x.npy", GRAY)
        found.append(build_dataset({"name": "array", "path": str(folder / "x.npy")}, seed=0).fingerprint)
    assert found[0] == found[1]
    words = ["train", "dataset=array", *TINY, f"hydra.run.dir={tmp_path / 'run'}"]
    assert main.main([*words, "trainer.steps=1", f"dataset.path={tmp_path / 'a/x.npy'}"]) == 0
    assert main.main(["resume", str(tmp_path / "run"), "trainer.steps=2", f"dataset.path={tmp_path / 'b/x.npy'}"]) == 0


def use(samples: Any) -> None:
    for _ in range(40):  # a random transform may once leave a sample as it is
        pass_samples(samples)
    adapt(samples).open(CPU)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (GRAY.astype(np.float32), r"sample 0 cannot be read \(float32 from .* is neither uint8 nor floats in \[0, 1\]"),
        (GRAY.astype(np.int64), "int64 from"),
        (np.zeros((5, 8, 8, 4), np.uint8), r"shape \(8, 8, 4\) is not"),
        (np.zeros((5, 3, 8, 3), np.uint8), r"shape \(3, 8, 3\) is not"),
        (np.full((5, 2), np.nan), "a point is not finite"),
        (np.full((5, 4, 4), np.nan), "neither uint8"),
        ([GRAY[0], GRAY[0, :4]], r"sample 1 is uint8 \(1, 4, 8\), the first one uint8 \(1, 8, 8\).*dataset\.size"),
        ((GRAY, np.linspace(0, 1, 40)), "the labels are float64"),
        ((GRAY, np.arange(39)), "is not a data set"),
        (GRAY[:0], "0 samples"),
        ("images.npy", "pass a NumPy array"),
        (iter(GRAY), "pass a NumPy array"),
        (FakeData(9, (3, 8, 8), transform=RandomHorizontalFlip(), random_offset=1), "the samples change"),
        (TensorDataset(torch.zeros(3, 8, 8), torch.zeros(3)), "the labels are float32"),
        ([None, 1], "cannot be read|are not usable"),
        (
            torch.zeros(5, 8, 8, dtype=torch.bfloat16),
            r"torch\.bfloat16 are not usable; the images to train on",
        ),
        (np.array([[{}]], dtype=object), "object are not usable"),
    ],
)
def test_samples_that_are_not_usable_are_refused_in_one_line(samples: Any, said: str) -> None:
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        use(samples)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npy", np.lib.format.magic(1, 0) + b"junk", "is not readable"),
        ("x.npz", b"PK\x03\x04junk", "is not readable"),
        ("x.npy", b"\x80\x04N.", "is not readable"),
        ("x.png", b"", "is another kind of file"),
        (None, b"", "x.npy is missing; key dataset.path"),
    ],
)
def test_files_that_are_not_arrays_are_refused_in_one_line(
    tmp_path: Path, name: str | None, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name:
        (tmp_path / name).write_bytes(content)
    assert main.main(["train", "dataset=array", f"dataset.path={tmp_path / (name or 'x.npy')}"]) in (2, 3)
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_pickles_cut_files_and_archives_larger_than_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        build_dataset({"name": "array", "path": str(path)}, seed=0).open(CPU)
    np.save(path, GRAY)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="is not readable"):
        build_dataset({"name": "array", "path": str(path)}, seed=0).open(CPU)
    np.savez_compressed(tmp_path / "x.npz", images=GRAY)
    monkeypatch.setattr("genlab.utils.image_file.free_host_memory", lambda: 100)
    with pytest.raises(GenlabError, match="100 B are free"):
        build_dataset({"name": "array", "path": str(tmp_path / "x.npz")}, seed=0).open(CPU)

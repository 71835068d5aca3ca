"""The real sets, where they are at hand, against their published counts and other libraries' readers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from genlab.data.datasets import celeba, digits, folder, frey_faces, lsun, mnist
from genlab.registry import DATASETS

CPU = torch.device("cpu")
CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "dataset"
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
READERS = (celeba.CelebA, digits.Digits, folder.Folder, frey_faces.FreyFaces, lsun.LSUN, mnist.MNIST)


def spec(name: str) -> dict[str, object]:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def uint8(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_yaml_gives_exactly_its_constructors_keys_and_defaults(name: str) -> None:
    given = {key: None if value == "???" else value for key, value in spec(name).items()}
    fields = DATASETS.schema(name).model_fields
    assert DATASETS.check({"name": name, **{key: field.default for key, field in fields.items()}}) == given
    lines = (CONFIGS / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert all("#" in line for line in lines if not line.startswith("name:"))


@pytest.mark.usefixtures("real_data")
def test_mnist() -> None:
    data = DATASETS.build(spec("mnist"), seed=0).open(CPU)
    splits = {name: data.split(name) for name in ("train", "valid", "test")}
    assert [len(split) for split in splits.values()] == [55000, 5000, 10000]
    labels = {name: split.take(60000, ("label",))[0] for name, split in splits.items()}
    assert np.bincount(torch.cat([labels["train"], labels["valid"]])).tolist() == TRAIN_COUNTS
    assert np.bincount(labels["test"]).tolist() == TEST_COUNTS
    assert np.abs(np.bincount(labels["valid"]) - np.array(TRAIN_COUNTS) / 12).max() <= 1
    rows = torch.cat([splits["train"].indices, splits["valid"].indices])
    assert torch.equal(rows.sort().values, torch.arange(60000))
    images = data.table.columns["image"][:60000].float() / 255
    assert images.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert images.std().item() == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_torchvision_reads_the_same(real_data: Path, tmp_path: Path, name: str, folder: str) -> None:
    from torchvision import datasets

    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    for file in (real_data / folder / "raw").glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    theirs = getattr(datasets, folder)(str(tmp_path), train=False)
    data = DATASETS.build(spec(name), seed=0).open(CPU)
    image, label = data.split("test").take(10000, ("image", "label"))
    assert np.array_equal(uint8(image)[:, 0], theirs.data.numpy())
    assert torch.equal(label, theirs.targets)
    assert data.label_names == [c.split(" - ")[0] for c in theirs.classes]


@pytest.mark.usefixtures("real_data")
def test_fashion_mnist_counts() -> None:
    data = DATASETS.build(spec("fashion_mnist"), seed=0).open(CPU)
    labels = [data.split(name).take(60000, ("label",))[0] for name in ("train", "valid", "test")]
    assert [np.bincount(part).tolist() for part in labels] == [[5500] * 10, [500] * 10, [1000] * 10]


def test_celeba(real_data: Path) -> None:
    from PIL import Image

    data = DATASETS.build(spec("celeba"), seed=0).open(CPU)
    sizes = [len(data.split(name)) for name in ("train", "valid", "test")]
    if sizes != [3000, 400, 400]:
        pytest.skip("another subset of CelebA than the one whose figures are known")
    assert (data.shape, data.num_classes) == ((3, 64, 64), 40)
    labels = torch.cat([data.split(name).take(3000, ("label",))[0] for name in ("train", "valid", "test")])
    assert data.label_names is not None
    shares = {name: labels[:, data.label_names.index(name)].mean().item() for name in ("Male", "Smiling", "Young")}
    assert shares == {
        name: pytest.approx(share, abs=5e-4) for name, share in (("Male", 0.437), ("Smiling", 0.491), ("Young", 0.760))
    }
    [image] = data.split("train").take(1, ("image",))
    with Image.open(real_data / "celeba" / "img_align_celeba" / "000176.jpg") as opened:
        expected = opened.crop((0, 20, 178, 198)).resize((64, 64), Image.Resampling.BILINEAR)
    inner = slice(1, -1)  # the outermost pixels also see what lies outside the crop
    theirs = np.asarray(expected).transpose(2, 0, 1)
    assert np.array_equal(uint8(image)[0][:, inner, inner], theirs[:, inner, inner])


def entries(database: Path) -> int:
    """How many images an LMDB holds."""
    import lmdb

    with lmdb.open(str(database), readonly=True, lock=False) as environment:
        return int(environment.stat()["entries"])


def test_lsun(real_data: Path) -> None:
    data = DATASETS.build(spec("lsun"), seed=0).open(CPU)
    assert (data.shape, data.num_classes) == ((3, 64, 64), None)
    sizes = [len(data.split(name)) for name in ("train", "valid", "test")]
    train, test = (entries(real_data / "lsun" / f"bedroom_{name}_lmdb") for name in ("train", "val"))
    assert (sizes[0] + sizes[1], sizes[2]) == (train, test)
    [image] = data.split("test").take(150, ("image",))
    assert 0.3 < image.mean() < 0.7
    assert image.flatten(1).std(1).min() > 0.05  # images, not blank rows


def test_frey_faces(real_data: Path) -> None:
    from scipy.io import loadmat

    data = DATASETS.build(spec("frey_faces"), seed=0).open(CPU)
    sizes = [len(data.split(name)) for name in ("train", "valid", "test")]
    assert sum(sizes) == 1965
    frames = loadmat(real_data / "FreyFaces" / "frey_rawface.mat")["ff"].T.reshape(-1, 1, 28, 20)
    assert np.array_equal(data.table.columns["image"].numpy(), frames)
    assert data.split("test").indices[-1] == 1964


def test_a_folder_of_real_photographs(real_data: Path) -> None:
    root = str(real_data / "facades")
    data = DATASETS.build({**spec("folder"), "root": root, "size": 32}, seed=0).open(CPU)
    assert data.num_classes is None
    train, valid = (len(list((real_data / "facades" / name).glob("*.jpg"))) for name in ("train", "val"))
    assert (len(data.split("train")) + len(data.split("test")), len(data.split("valid"))) == (train, valid)

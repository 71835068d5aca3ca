from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.data.datasets.celeba import CelebA
from genlab.data.datasets.digits import Digits
from genlab.data.datasets.folder import Folder
from genlab.data.datasets.frey_faces import FreyFaces
from genlab.data.datasets.lsun import LSUN
from genlab.data.store import lmdb_file
from genlab.data.store.image import Form, decode
from genlab.errors import ConfigError, DataError
from tests.support import synthetic

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("fresh")


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    data = Digits(split_seed=1).open(CPU)
    assert (data.shape, data.num_classes, data.label_names) == ((1, 8, 8), 10, list("0123456789"))
    splits = [data.split(name) for name in ("train", "valid", "test")]
    assert [len(split) for split in splits] == [1437, 180, 180]
    levels, labels = load_digits(return_X_y=True)
    for split in splits:
        image, label = split.take(2000, ("image", "label"))
        rows = split.indices.numpy()
        assert np.abs(image.reshape(-1, 64).numpy() - levels[rows] / 16).max() <= 0.5 / 255 + 1e-6
        assert np.array_equal(label.numpy(), labels[rows])
        assert np.abs(np.bincount(label, minlength=10) / len(label) - 0.1).max() < 0.02
    assert Digits(size=16).open(CPU).shape == (1, 16, 16)


def split_of(**keys: Any) -> tuple[str, list[list[int]]]:
    data = Digits(limit=900, num_labels=1000, **keys).open(CPU)
    return data.fingerprint, [data.split(name).indices.tolist() for name in ("train", "valid", "test")]


def test_the_seed_of_a_run_leaves_the_splits_as_they_are() -> None:
    """Seeds of a run differ in initial weights, order and noise only."""
    first, again, other = split_of(seed=0), split_of(seed=1), split_of(split_seed=1)
    assert first == again
    assert first[0] != other[0]
    assert all(one != two for one, two in zip(first[1], other[1], strict=True))


def test_the_default_splits_are_those_of_the_published_figures() -> None:
    _, splits = split_of(seed=3)
    assert [indices[:4] for indices in splits] == [[0, 2, 3, 6], [4, 13, 21, 47], [16, 34, 44, 75]]
    assert [sum(indices) for indices in splits] == [818065, 161444, 154150]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_celeba_from_folder_or_zip(tmp_path: Path, zipped: bool, inside: bool) -> None:
    home = synthetic.celeba(tmp_path, zipped=zipped, crlf=inside)
    data = CelebA(root=str(home if inside else tmp_path), size=16).open(CPU)
    assert (data.shape, data.num_classes, data.multi_label) == ((3, 16, 16), 40, True)
    assert data.label_names is not None
    assert data.label_names[:2] == ["Attribute_0", "Attribute_1"]
    assert [data.split(name).indices.tolist() for name in ("train", "valid", "test")] == [
        [*range(8)], [8, 9], [10, 11]
    ]  # fmt: skip
    image, label = data.split("train").take(8, ("image", "label"))
    assert label.dtype == torch.float32
    assert label.tolist() == [[float((i + k) % 2) for k in range(40)] for i in range(8)]
    jpeg = synthetic.encoded(synthetic.photo(3, 178, 218))
    assert np.array_equal((image[3] * 255).round().numpy(), decode(jpeg, Form(16, crop=178)))


def test_a_subset_of_celeba_keeps_its_rows_and_carves_splits_it_lacks(tmp_path: Path) -> None:
    home = synthetic.celeba(tmp_path)
    for name in sorted(os.listdir(home / "img_align_celeba"))[5:]:
        (home / "img_align_celeba" / name).unlink()
    (home / "img_align_celeba" / "stray.txt").write_text("")
    data = CelebA(root=str(tmp_path), size=8, valid=1, test=0.2).open(CPU)
    assert [len(data.split(name)) for name in ("train", "valid", "test")] == [3, 1, 1]


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt"])
def test_a_list_of_celeba_without_end_is_not_read(tmp_path: Path, name: str) -> None:
    os.truncate(synthetic.celeba(tmp_path) / name, 2**34)  # takes no room on the disk
    with pytest.raises(DataError, match=rf"{name} is too long for a list; at most 134.2 MB"):
        CelebA(root=str(tmp_path)).prepare()


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba.zip"])
def test_celeba_says_which_file_goes_where(tmp_path: Path, name: str) -> None:
    home = synthetic.celeba(tmp_path, zipped=True)
    (home / name).unlink()
    with pytest.raises(DataError, match=f"{name}.*put it at {home}"):
        CelebA(root=str(tmp_path)).check()


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("list_attr_celeba.txt", " -1", " 2", "damaged at line 3"),
        ("list_attr_celeba.txt", "000004.jpg ", "000004.jpg 1 ", "damaged at line 4"),
        ("list_attr_celeba.txt", "000004.jpg", "999999.jpg", "no line for 000004.jpg"),
        ("list_eval_partition.txt", "000004.jpg 0", "000004.jpg 3", "damaged at line 2"),
        ("list_eval_partition.txt", "000004.jpg 0", "\u00e9 0", "cannot be read"),
    ],
)
def test_damaged_celeba_lists_are_named(tmp_path: Path, name: str, old: str, new: str, says: str) -> None:
    file = synthetic.celeba(tmp_path) / name
    file.write_text(file.read_text().replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=says) as caught:
        CelebA(root=str(tmp_path)).open(CPU)
    assert name in str(caught.value)


def test_damaged_celeba_zips_are_named(tmp_path: Path) -> None:
    home = synthetic.celeba(tmp_path, zipped=True)
    archive = home / "img_align_celeba.zip"
    whole = archive.read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(whole), 3):
        archive.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"img_align_celeba\.zip"):
            CelebA(root=str(tmp_path), size=8).open(CPU)
    data = bytearray(whole)
    data[whole.index(b"000004.jpg") + 300] ^= 255
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"img_align_celeba\.zip:img_align_celeba/000004\.jpg.*CRC"):
        CelebA(root=str(tmp_path), size=8).open(CPU)


def test_hostile_zip_entries_are_not_extracted(tmp_path: Path) -> None:
    home = synthetic.celeba(tmp_path / "root", zipped=True)
    with zipfile.ZipFile(home / "img_align_celeba.zip", "a") as archive:
        archive.writestr("../../../escaped.jpg", b"x")
        archive.writestr("/absolute.jpg", b"x")
    before = sorted((tmp_path / "root").rglob("*"))
    CelebA(root=str(tmp_path / "root"), size=8).open(CPU)
    assert sorted((tmp_path / "root").rglob("*")) == before
    assert not list(tmp_path.rglob("escaped.jpg"))


@pytest.mark.parametrize("inside", [False, True])
def test_lsun_reads_its_databases_and_leaves_them_alone(tmp_path: Path, inside: bool) -> None:
    home = synthetic.lsun(tmp_path / "root")
    before = sorted((tmp_path / "root").rglob("*"))
    data = LSUN(root=str(home if inside else tmp_path / "root"), size=16, valid=4).open(CPU)
    assert (data.shape, data.num_classes) == ((3, 16, 16), None)
    assert [len(data.split(name)) for name in ("train", "valid", "test")] == [16, 4, 5]
    [image] = data.split("test").take(5, ("image",))
    assert np.array_equal(
        (image[2] * 255).round().numpy(), decode(synthetic.encoded(synthetic.photo(22, 102, 64)), Form(16))
    )
    assert sorted((tmp_path / "root").rglob("*")) == before
    with pytest.raises(ConfigError, match="no column 'label'"):
        data.batches(("image", "label"), 4)


def test_lsun_refuses_one_file_for_both_splits(tmp_path: Path) -> None:
    home = synthetic.lsun(tmp_path)
    (home / "bedroom_val_lmdb" / "data.mdb").unlink()
    (home / "bedroom_val_lmdb" / "data.mdb").symlink_to(home / "bedroom_train_lmdb" / "data.mdb")
    with pytest.raises(DataError, match="train and val are one file"):
        LSUN(root=str(tmp_path), size=16).open(CPU)


def test_lsun_says_which_file_goes_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"put it at {tmp_path}/lsun/tower_train_lmdb/data.mdb"):
        LSUN(root=str(tmp_path), category="tower").check()


def test_a_truncated_lmdb_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    home = synthetic.lsun(tmp_path)
    file = home / "bedroom_train_lmdb" / "data.mdb"
    whole = file.read_bytes()
    lmdb_file.check(file.parent)
    for cut in [
        0,
        1,
        100,
        4096,
        8191,
        8192,
        12288,
        len(whole) - 1,
        *np.random.default_rng(0).integers(0, len(whole), 20),
    ]:
        file.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=str(file)):
            LSUN(root=str(tmp_path)).check()


def test_a_corrupted_lmdb_never_takes_the_process_down(tmp_path: Path) -> None:
    home = synthetic.lsun(tmp_path, train=6, test=3)
    file = home / "bedroom_train_lmdb" / "data.mdb"
    whole = file.read_bytes()
    rng = np.random.default_rng(3)
    messages = []
    for _ in range(4):
        data = bytearray(whole)
        for place in rng.integers(8192, len(data), 400):
            data[place] = rng.integers(256)
        file.write_bytes(data)
        try:
            LSUN(root=str(tmp_path), size=8, valid=1).open(CPU)
        except DataError as error:
            messages.append(str(error))
    assert messages
    assert all("bedroom_train_lmdb" in message for message in messages)


def test_a_folder_of_pictures_with_labels(tmp_path: Path) -> None:
    root = synthetic.folder(tmp_path / "mine", {"dog": 6, "cat": 10, ".hidden": 3})
    (root / "cat" / "notes.txt").write_text("not a picture")
    data = Folder(root=str(root), size=8, valid=0.25, test=4).open(CPU)
    assert (data.shape, data.num_classes, data.label_names) == ((3, 8, 8), 2, ["cat", "dog"])
    assert [len(data.split(name)) for name in ("train", "valid", "test")] == [8, 4, 4]
    [label] = data.split("train").take(8, ("label",))
    assert label.tolist() == [0] * 5 + [1] * 3
    assert Folder(root=str(root), size=8, channels=1).open(CPU).shape == (1, 8, 8)


def test_a_folder_with_its_own_splits(tmp_path: Path) -> None:
    root = synthetic.folder(tmp_path / "mine", {"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 1, "test/b": 2})
    data = Folder(root=str(root), size=8).open(CPU)
    assert [len(data.split(name)) for name in ("train", "valid", "test")] == [12, 3, 2]
    assert data.split("test").take(2, ("label",))[0].tolist() == [1, 1]
    assert data.label_names == ["a", "b"]


def test_a_folder_without_labels(tmp_path: Path) -> None:
    data = Folder(root=str(synthetic.folder(tmp_path / "mine", {"train": 9, "test": 2})), size=8).open(CPU)
    assert data.num_classes is None
    assert [len(data.split(name)) for name in ("train", "valid", "test")] == [8, 1, 2]


def test_what_a_folder_must_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.root=PATH"):
        Folder().check()
    with pytest.raises(DataError, match="is not a folder"):
        Folder(root=str(tmp_path / "nowhere")).check()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        Folder(root=str(tmp_path / "empty")).open(CPU)
    mixed = synthetic.folder(tmp_path / "mixed", {".": 1, "a": 2})
    with pytest.raises(DataError, match=r"others beside them, such as 000\.png"):
        Folder(root=str(mixed)).open(CPU)


BAD = {
    "zero bytes": b"",
    "text": b"hello",
    "truncated": synthetic.encoded(synthetic.photo(0), "PNG")[:200],
    "one pixel": synthetic.encoded(synthetic.photo(0, 1, 1), "PNG"),
}


@pytest.mark.parametrize("how", BAD)
def test_bad_pictures_of_a_folder_are_named(tmp_path: Path, how: str) -> None:
    root = synthetic.folder(tmp_path / "mine", {".": 5})
    (root / "002.png").write_bytes(BAD[how])
    with pytest.raises(DataError, match=f"image 2, {root}/002.png") as caught:
        Folder(root=str(root), size=8).open(CPU)
    assert caught.value.code == 3


def frey(path: Path, frames: np.ndarray) -> Path:
    from scipy.io import savemat

    path.mkdir(parents=True)
    savemat(path / "frey_rawface.mat", {"ff": frames}, do_compression=True)
    return path


def test_frey_faces_in_the_films_order(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (560, 50), dtype=np.uint8)
    frey(tmp_path / "FreyFaces", frames)
    data = FreyFaces(root=str(tmp_path), split_seed=9).open(CPU)
    assert (data.shape, data.num_classes) == ((1, 28, 20), None)
    assert [data.split(name).indices.tolist() for name in ("train", "valid", "test")] == [
        [*range(40)], [*range(40, 45)], [*range(45, 50)]
    ]  # fmt: skip
    [image] = data.split("test").take(5, ("image",))
    assert np.array_equal((image * 255).round().numpy()[:, 0], frames.T[45:].reshape(-1, 28, 20))
    assert FreyFaces(root=str(tmp_path), size=20).open(CPU).shape == (1, 20, 20)


@pytest.mark.parametrize("frames", [np.zeros((561, 9), np.uint8), np.zeros((560, 9)), np.zeros((560, 0), np.uint8)])
def test_other_matrices_are_no_frey_faces(tmp_path: Path, frames: np.ndarray) -> None:
    frey(tmp_path / "FreyFaces", frames)
    with pytest.raises(DataError, match=r"frey_rawface\.mat is not the Frey faces' file"):
        FreyFaces(root=str(tmp_path)).open(CPU)


def test_damaged_frey_faces_are_named(tmp_path: Path) -> None:
    file = frey(tmp_path / "FreyFaces", np.zeros((560, 9), np.uint8)) / "frey_rawface.mat"
    whole = file.read_bytes()
    for data in (b"", b"garbage", whole[: len(whole) // 2], whole[:140] + b"\xff" * 20 + whole[160:]):
        file.write_bytes(data)
        with pytest.raises(DataError, match=str(file)):
            FreyFaces(root=str(tmp_path)).open(CPU)
    file.unlink()
    with pytest.raises(DataError, match=f"put it at {file}"):
        FreyFaces(root=str(tmp_path)).check()

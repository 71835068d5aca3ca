"""CIFAR, SVHN, KMNIST and EMNIST from small files in their exact formats; none of the real files was read here."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from genlab.data.dataset import StoredDataset
from genlab.data.datasets.mnist import KMNIST
from genlab.data.datasets.standard import tar_file
from genlab.data.datasets.standard.cifar import CIFAR10, CIFAR100
from genlab.data.datasets.standard.emnist import CLASSES, EMNIST
from genlab.data.datasets.standard.svhn import SVHN
from genlab.data.store import mat_file
from genlab.errors import DataError, ResourceError
from genlab.registry import DATASETS
from tests.support import synthetic

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures("fresh")


def all_of(dataset: StoredDataset, split: str = "test") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images uint8, labels and class names of a split in the order of the file."""
    data = dataset.open(CPU)
    images, labels = data.split(split).take(len(data.split(split)), ("image", "label"))
    assert data.label_names is not None
    return (images * 255).round().byte().numpy(), labels.numpy(), data.label_names


def cifar(root: Path, kind: type[CIFAR10] | type[CIFAR100], n: int = 8) -> dict[str, np.ndarray]:
    """The unpacked folder, and the records (labels and pixels) of each file."""
    folder = root / kind.inside
    folder.mkdir(parents=True)
    records = {}
    limits = [20, 100] if kind is CIFAR100 else [10]
    for name in (name for part in kind.parts.values() for name in part):
        labels = np.stack([RNG.integers(0, limit, n) for limit in limits], 1)
        records[name] = np.concatenate([labels, RNG.integers(0, 256, (n, 3072))], 1).astype(np.uint8)
        (folder / name).write_bytes(records[name].tobytes())
    if kind is CIFAR10:
        (folder / "batches.meta.txt").write_text("\n".join([f"class{i}" for i in range(10)]) + "\n\n")
    else:
        (folder / "fine_label_names.txt").write_text("\n".join([f"fine{i:02d}" for i in range(100)]) + "\n")
        (folder / "coarse_label_names.txt").write_text("\n".join([f"coarse{i:02d}" for i in range(20)]) + "\n")
    return records


def archived(root: Path, kind: type[CIFAR10] | type[CIFAR100]) -> Path:
    """The folder packed as the archive that is downloaded; the folder is removed."""
    path = root / kind.archive
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root / kind.inside, kind.inside)
    for file in (root / kind.inside).iterdir():
        file.unlink()
    (root / kind.inside).rmdir()
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_cifar10_is_read_from_the_folder_and_the_archive(tmp_path: Path, packed: bool) -> None:
    records = cifar(tmp_path, CIFAR10)
    if packed:
        archived(tmp_path, CIFAR10)
    images, labels, names = all_of(CIFAR10(root=str(tmp_path), valid=4))
    held = records["test_batch.bin"]
    assert np.array_equal(images, held[:, 1:].reshape(-1, 3, 32, 32))
    assert labels.tolist() == held[:, 0].tolist()
    assert names == [f"class{i}" for i in range(10)]
    train = CIFAR10(root=str(tmp_path), valid=4).open(CPU)
    assert train.sizes() == {"train": 36, "valid": 4, "test": 8}


@pytest.mark.parametrize(("which", "byte"), [("fine", 1), ("coarse", 0)])
def test_cifar100_has_two_kinds_of_labels(tmp_path: Path, which: Any, byte: int) -> None:
    records = cifar(tmp_path, CIFAR100)
    images, labels, names = all_of(CIFAR100(root=str(tmp_path), valid=4, labels=which))
    assert np.array_equal(images, records["test.bin"][:, 2:].reshape(-1, 3, 32, 32))
    assert labels.tolist() == records["test.bin"][:, byte].tolist()
    assert len(names) == {"fine": 100, "coarse": 20}[which]


def test_damaged_cifar_is_named(tmp_path: Path) -> None:
    cifar(tmp_path, CIFAR10)
    dataset = CIFAR10(root=str(tmp_path), valid=4)
    batch = tmp_path / CIFAR10.inside / "data_batch_3.bin"
    whole = batch.read_bytes()
    for damaged, says in ((whole[:-1], "a record has 3073"), (b"\x0a" + whole[1:], "holds the label 10")):
        batch.write_bytes(damaged)
        with pytest.raises(DataError, match=says):
            dataset.open(CPU)
    batch.unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin is missing"):
        dataset.open(CPU)
    batch.write_bytes(whole)
    path = archived(tmp_path, CIFAR10)
    content = path.read_bytes()
    for damaged in (content[:200], content[: len(content) // 2], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged"):
            dataset.open(CPU)


def hostile_tar(path: Path, headers: int, size: int) -> None:
    """An archive whose first member has that many extended headers (a long name each) of `size` bytes."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, size
    one = header.tobuf(tarfile.GNU_FORMAT)
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(headers):
            file.write(one)
            for start in range(0, size, 2**20):
                file.write(bytes(min(2**20, size - start)))


@pytest.mark.parametrize(
    ("headers", "size", "says"), [(1, 2**27, "headers are too long"), (3000, 512, "RecursionError|header")]
)
def test_headers_of_an_archive_are_bounded(tmp_path: Path, headers: int, size: int, says: str) -> None:
    path = tmp_path / CIFAR10.archive
    hostile_tar(path, headers, size)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=says):
            CIFAR10(root=str(tmp_path), valid=4).open(CPU)
        assert tracemalloc.get_traced_memory()[1] < 2**26 + 2**23  # 64 MB to see whether memory is left
    finally:
        tracemalloc.stop()


def test_a_map_of_holes_is_no_way_around(tmp_path: Path) -> None:
    """An archive may say that a file's map of holes has any number of entries, which tarfile would keep."""
    holes = tarfile.TarInfo(f"{CIFAR10.inside}/data_batch_1.bin")
    holes.size = 2**22
    holes.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": holes.name}
    with tarfile.open(tmp_path / CIFAR10.archive, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(holes, io.BytesIO(b"9999999\n" + b"0\n" * 2**21))
    with pytest.raises(DataError, match="headers are too long"):
        CIFAR10(root=str(tmp_path), valid=4).open(CPU)


def test_the_length_of_an_unpacked_archive_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(tmp_path, CIFAR10)
    archived(tmp_path, CIFAR10)
    monkeypatch.setattr(tar_file, "TOTAL", 100_000)
    with pytest.raises(DataError, match="unpacks to more than 100000 bytes"):
        CIFAR10(root=str(tmp_path), valid=4).open(CPU)


def test_the_length_of_unpacked_files_is_bounded(tmp_path: Path) -> None:
    cifar(tmp_path, CIFAR10)
    batch = tmp_path / CIFAR10.inside / "data_batch_2.bin"
    with batch.open("r+b") as file:
        file.truncate(2**29)  # sparse
    with pytest.raises(DataError, match=r"data_batch_2\.bin cannot be read.*longer than"):
        CIFAR10(root=str(tmp_path), valid=4).open(CPU)


def test_a_file_of_other_data_does_not_hide_the_archive(tmp_path: Path) -> None:
    records = cifar(tmp_path, CIFAR100)
    archived(tmp_path, CIFAR100)
    (tmp_path / "train.bin").write_bytes(b"tokens")
    images, _, _ = all_of(CIFAR100(root=str(tmp_path), valid=4))
    assert np.array_equal(images, records["test.bin"][:, 2:].reshape(-1, 3, 32, 32))


def svhn(root: Path, part: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    images = RNG.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
    labels = (np.arange(n) % 10 + 1).astype(np.uint8)[:, None]
    savemat(root / f"{part}_32x32.mat", {"X": images, "y": labels}, do_compression=True)
    return images, labels


def test_svhn_turns_the_axes_and_ten_is_zero(tmp_path: Path) -> None:
    svhn(tmp_path, "train", 12)
    held, digits = svhn(tmp_path, "test", 11)
    images, labels, names = all_of(SVHN(root=str(tmp_path), valid=2))
    assert np.array_equal(images[3, 1], held[:, :, 1, 3])
    assert images.shape == (11, 3, 32, 32)
    assert labels.tolist() == (digits[:, 0] % 10).tolist()
    assert names == list("0123456789")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.full((4, 1), 11)}, "labels other than 1 to 10"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((5, 1))}, "y has 5 labels"),
        ({"X": np.zeros((32, 32, 4), np.uint8), "y": np.ones((4, 1))}, "X is uint8"),
        ({"y": np.ones((4, 1))}, "KeyError"),
        (None, "is not SVHN's file"),
    ],
)
def test_a_damaged_svhn_file_is_named(tmp_path: Path, variables: Any, says: str) -> None:
    svhn(tmp_path, "test", 4)
    file = tmp_path / "train_32x32.mat"
    file.write_bytes(b"MATLAB") if variables is None else savemat(file, variables)
    with pytest.raises(DataError, match=says) as caught:
        SVHN(root=str(tmp_path), valid=2).open(CPU)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ({"other": np.zeros(2000, np.uint8)}, "holds more than 1000 bytes"),
        ({"ff": np.full((1, 1), 1, object)}, "'ff' is cell of shape"),
        ({"ff": np.zeros((2, 3), complex)}, "not an array of numbers"),
    ],
)
def test_what_a_matlab_file_holds_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: Any, says: str
) -> None:
    file = tmp_path / "faces.mat"
    savemat(file, variable, do_compression=True)
    assert file.stat().st_size < 1000
    monkeypatch.setattr(mat_file, "LARGEST", 1000)
    with pytest.raises(DataError, match=says):
        mat_file.variables(file, ["ff"], "the faces")


def test_a_lack_of_memory_is_no_damaged_matlab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "faces.mat"
    savemat(file, {"ff": np.zeros((2, 3), np.uint8)})

    def exhausted(*args: Any, **keys: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("scipy.io.loadmat", exhausted)
    with pytest.raises(ResourceError, match="out of memory"):
        mat_file.variables(file, ["ff"], "the faces")


def test_kmnist_is_mnist_in_another_folder(tmp_path: Path) -> None:
    held = synthetic.mnist(tmp_path, folder="KMNIST/raw")
    images, labels, names = all_of(KMNIST(root=str(tmp_path), valid=4))
    assert np.array_equal(images[:, 0], held["t10k-images-idx3-ubyte"])
    assert labels.tolist() == held["t10k-labels-idx1-ubyte"].tolist()
    assert names[:2] == ["o", "ki"]


def emnist(root: Path, subset: str, classes: int, first: int, how: str) -> tuple[np.ndarray, np.ndarray]:
    """The test images, as they lie in the file, and labels, counted from `first`."""
    files = {}
    for part, n in (("train", 40), ("test", 2 * classes)):
        images = RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % classes + first).astype(np.uint8)
        files[f"emnist-{subset}-{part}-images-idx3-ubyte"] = synthetic.idx(images)
        files[f"emnist-{subset}-{part}-labels-idx1-ubyte"] = synthetic.idx(labels)
    if how == "zip":
        (root / "EMNIST").mkdir()
        with zipfile.ZipFile(root / "EMNIST/gzip.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(f"gzip/{name}.gz", gzip.compress(data))
    else:
        (root / "EMNIST/raw").mkdir(parents=True)
        for name, data in files.items():
            packed = how == "gz"
            (root / "EMNIST/raw" / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return images, labels.astype(int)


@pytest.mark.parametrize("how", ["plain", "gz", "zip"])
@pytest.mark.parametrize(("subset", "first"), [("letters", 1), ("balanced", 0)])
def test_emnist_is_upright_and_counts_from_zero(tmp_path: Path, subset: Any, first: int, how: str) -> None:
    held, counted = emnist(tmp_path, subset, len(CLASSES[subset]), first, how)
    images, labels, names = all_of(EMNIST(root=str(tmp_path), valid=4, subset=subset))
    assert np.array_equal(images[:, 0], held.transpose(0, 2, 1))
    assert labels.tolist() == (counted - first).tolist()
    assert names == list(CLASSES[subset])
    assert EMNIST(root=str(tmp_path), valid=4, subset=subset, size=32).open(CPU).shape == (1, 32, 32)


def test_a_damaged_emnist_archive_is_named(tmp_path: Path) -> None:
    emnist(tmp_path, "digits", 10, 0, "zip")
    path = tmp_path / "EMNIST/gzip.zip"
    with pytest.raises(DataError, match="does not contain gzip/emnist-letters"):
        EMNIST(root=str(tmp_path), valid=4, subset="letters").open(CPU)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="not a readable zip archive"):
        EMNIST(root=str(tmp_path), valid=4, subset="digits").open(CPU)


@pytest.mark.parametrize("fault", ["encrypted", "lzma", "changed"])
def test_a_zip_fault_is_told_as_one(tmp_path: Path, fault: str) -> None:
    """Of members that are encrypted, packed by another method, or not those of the directory."""
    emnist(tmp_path, "digits", 10, 0, "zip")
    path = tmp_path / "EMNIST/gzip.zip"
    if fault == "lzma":
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    data = bytearray(path.read_bytes())
    for at in (at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"):
        data[at + 8] |= fault == "encrypted"
        data[at + 16] ^= fault == "changed"  # a byte of the checksum
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"the ZIP archive, or gzip/emnist-.* is damaged"):
        EMNIST(root=str(tmp_path), valid=4, subset="digits").open(CPU)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "kmnist", "emnist"])
def test_a_missing_file_and_its_place_are_named(tmp_path: Path, name: str) -> None:
    dataset = DATASETS.build({"name": name, "root": str(tmp_path)}, "dataset", seed=0)
    with pytest.raises(DataError, match=f"put it at {tmp_path}/") as caught:
        dataset.check()
    assert "is missing" in str(caught.value)


def test_sums_of_classes() -> None:
    assert {subset: len(names) for subset, names in CLASSES.items()} == {
        "byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10,
    }  # fmt: skip
    assert len(set(CLASSES["bymerge"])) == 47


def test_nothing_is_unpacked_outside_the_archive(tmp_path: Path) -> None:
    """A member that is a link is refused, and no file is written."""
    cifar(tmp_path, CIFAR10)
    path = archived(tmp_path, CIFAR10)
    link = tarfile.TarInfo(f"{CIFAR10.inside}/data_batch_1.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for member in old:
            new.addfile(link if member.name == link.name else member, old.extractfile(member))
    path.write_bytes(out.getvalue())
    with pytest.raises(DataError, match="is damaged"):
        CIFAR10(root=str(tmp_path), valid=4).open(CPU)
    assert not list(tmp_path.rglob("*.bin"))

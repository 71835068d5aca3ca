from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.data.datasets.mnist import MNIST, read_idx
from genlab.errors import DataError
from tests.support import synthetic

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(1).integers(0, 256, (30, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("name", ["x-idx3-ubyte", "x-idx3-ubyte.gz"])
def test_plain_and_gzipped_files_read_alike(tmp_path: Path, name: str) -> None:
    data = synthetic.idx(IMAGES)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert np.array_equal(read_idx(tmp_path / name, (28, 28)), IMAGES)


WHOLE = synthetic.idx(IMAGES)
BROKEN = {
    "empty": (b"", "0 bytes instead of 16"),
    "short header": (WHOLE[:9], "9 bytes instead of 16"),
    "magic of labels": (synthetic.idx(np.zeros(30)), "instead of 0x00000803"),
    "other size": (synthetic.idx(IMAGES[:, :27]), r"\[27, 28\] instead of \[28, 28\]"),
    "cut": (WHOLE[:-1], "expected 23520 bytes after the header and found 23519"),
    "too long": (WHOLE + b"x", "expected 23520 bytes after the header and found more than 23520"),
    "no items": (synthetic.idx(IMAGES[:0]), "claims 0 items"),
    "absurd count": (WHOLE[:4] + struct.pack(">I", 2**32 - 1) + WHOLE[8:], "claims 4294967295 items"),
    "count too large": (WHOLE[:4] + struct.pack(">I", 1_999_999) + WHOLE[8:], "found 23520"),
}


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("how", BROKEN)
def test_damage_is_named_with_bytes(tmp_path: Path, how: str, gz: bool) -> None:
    data, says = BROKEN[how]
    file = tmp_path / ("x.gz" if gz else "x")
    file.write_bytes(gzip.compress(data) if gz else data)
    with pytest.raises(DataError, match=says) as caught:
        read_idx(file, (28, 28))
    assert str(file) in str(caught.value)


def test_a_gzip_bomb_costs_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.gz"
    with gzip.open(file, "wb", 9) as out:
        out.write(WHOLE)
        for _ in range(2):  # a thousandth of this in the file, which is still no longer than plain images
            out.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(DataError, match="more than 23520"):
        read_idx(file, (28, 28))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_padding_of_zeros_is_not_read(tmp_path: Path) -> None:
    """gzip skips zeros after its data one by one: minutes for a gigabyte."""
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(WHOLE))
    with file.open("r+b") as opened:
        opened.truncate(2**30)  # takes no room on the disk
    with pytest.raises(DataError, match="it has 1073741824 bytes for 23520"):
        read_idx(file, (28, 28))


def test_mutations_of_a_gzipped_file_are_always_data_errors(tmp_path: Path) -> None:
    """gzip's checksum lets no flipped bit through; cuts are found by length."""
    rng = np.random.default_rng(0)
    whole = gzip.compress(WHOLE, mtime=0)
    file = tmp_path / "x.gz"
    for trial in range(300):
        data = bytearray(whole[: rng.integers(0, len(whole))] if trial % 2 else whole)
        if not trial % 2:
            data[rng.integers(18, len(data))] ^= 1 << rng.integers(8)
        file.write_bytes(data)
        with pytest.raises(DataError, match=str(file)):
            read_idx(file, (28, 28))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("folder", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("gz", [False, True])
def test_the_set_is_found_as_it_lies_and_read_as_it_is(tmp_path: Path, folder: str, gz: bool) -> None:
    root = tmp_path / "root"
    if folder == ".":
        held = synthetic.mnist(tmp_path, gz=gz, folder="root")
    else:
        held = synthetic.mnist(root, gz=gz, folder=folder)
    before = sorted(root.rglob("*"))
    data = MNIST(root=str(root), valid=10, split_seed=1).open(CPU)
    assert sorted(root.rglob("*")) == before
    assert (data.shape, data.num_classes) == ((1, 28, 28), 10)
    assert [len(data.split(name)) for name in ("train", "valid", "test")] == [30, 10, 20]
    [(image, label)] = data.split("test").batches(("image", "label"), 50)
    assert torch.equal((image * 255).round().to(torch.uint8)[:, 0], torch.from_numpy(held["t10k-images-idx3-ubyte"]))
    assert torch.equal(label, torch.from_numpy(held["t10k-labels-idx1-ubyte"]).long())


@pytest.mark.usefixtures("fresh")
def test_sizes_up_to_32_are_padded_with_zeros(tmp_path: Path) -> None:
    held = synthetic.mnist(tmp_path / "root")["t10k-images-idx3-ubyte"]
    for size, before, after in ((32, 2, 2), (31, 1, 2), (29, 0, 1)):
        data = MNIST(root=str(tmp_path / "root"), size=size, valid=10).open(CPU)
        [image] = data.split("test").take(20, ("image",))
        padded = np.pad(held, ((0, 0), (before, after), (before, after)))
        assert torch.equal((image * 255).round().to(torch.uint8)[:, 0], torch.from_numpy(padded))
    assert MNIST(root=str(tmp_path / "root"), size=14, valid=10).open(CPU).shape == (1, 14, 14)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("t10k-labels-idx1-ubyte.gz", np.zeros(19), "holds 20 images and .* 19 labels"),
        ("t10k-labels-idx1-ubyte.gz", np.full(20, 10), "holds the label 10"),
        ("train-labels-idx1-ubyte.gz", np.zeros((40, 2)), "magic number"),
    ],
)
def test_files_that_do_not_belong_together(tmp_path: Path, name: str, array: np.ndarray, says: str) -> None:
    synthetic.mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / name).write_bytes(gzip.compress(synthetic.idx(array)))
    with pytest.raises(DataError, match=says) as caught:
        MNIST(root=str(tmp_path), valid=10).open(CPU)
    assert name in str(caught.value)


def test_a_missing_file_is_named_with_its_place(tmp_path: Path) -> None:
    synthetic.mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz").unlink()
    place = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    with pytest.raises(DataError, match=f"put it at {place}"):
        MNIST(root=str(tmp_path)).check()

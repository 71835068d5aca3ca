from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.data.loader import Data
from genlab.data.sampler import Order
from genlab.data.store import table
from genlab.data.store.stored_array import StoredArray
from genlab.data.store.table import Gathered, Table
from genlab.distributed import launcher
from genlab.errors import ConfigError, DataError
from tests.support.processes import PATIENCE

CPU = torch.device("cpu")


def make(n: int = 23, rows: list[int] | None = None, flip: bool = False, resident: bool = True, seed: int = 3) -> Data:
    """n images 1x2x2 whose first pixel is their row number; labels are the row number too."""
    images = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(n)
    columns = {"image": images, "label": torch.arange(n)}
    train = torch.tensor(rows) if rows is not None else torch.arange(n)
    splits = {"train": train, "valid": torch.tensor([], dtype=torch.int64), "test": torch.tensor([1, 4, 5])}
    return Data(Table("toy", columns, CPU, resident), splits, [str(i) for i in range(n)], "f", seed, flip)


def seen(data: Data, batch_size: int, steps: range, **where: int) -> list[int]:
    batches = data.batches(("label",), batch_size, **where)
    return torch.cat([batches.at(step)[0] for step in steps]).tolist()


def test_images_come_in_unit_range_and_exactly_scaled() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    table = Table("toy", {"image": images}, CPU, True)
    [image] = table.read(torch.arange(256), ("image",))
    assert image.dtype == torch.float32
    assert image.min() == 0
    assert image.max() == 1
    torch.testing.assert_close(image.flatten(), torch.arange(256) / 255, rtol=0, atol=6e-8)


@pytest.mark.parametrize("batch_size", [1, 4, 23, 40])
def test_every_image_once_an_epoch_without_partial_batches(batch_size: int) -> None:
    n = 23
    stream = seen(make(n), batch_size, range(-(-5 * n // batch_size)))
    for epoch in range(5):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert stream[:n] != stream[n : 2 * n]
    assert stream[:n] != list(range(n))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    forward = [seen(make(), 4, range(k, k + 1)) for k in range(30)]
    batches = make().batches(("label",), 4)
    for step in (29, 3, 17, 17, 0, 12):  # any order, as a resumed run would ask
        assert batches.at(step)[0].tolist() == forward[step]
    assert seen(make(seed=4), 4, range(30)) != [row for batch in forward for row in batch]


@pytest.mark.parametrize(("world_size", "parts"), [(2, 1), (1, 3), (2, 3), (6, 2)])
@pytest.mark.parametrize("flip", [False, True])
def test_ranks_and_parts_together_are_the_whole_batch(world_size: int, parts: int, flip: bool) -> None:
    data = make(flip=flip)
    whole = data.batches(("image", "label"), 12)
    ranks = [data.batches(("image", "label"), 12, rank, world_size) for rank in range(world_size)]
    for step in range(8):
        pieces = [rank.at(step, part, parts) for rank in ranks for part in range(parts)]
        for column, whole_column in enumerate(whole.at(step)):
            assert torch.equal(torch.cat([piece[column] for piece in pieces]), whole_column)


def test_flips_depend_on_epoch_and_image_alone() -> None:
    def flipped(batch_size: int, steps: int) -> list[tuple[int, bool]]:
        batches = make(flip=True).batches(("image", "label"), batch_size)
        pairs = []
        for step in range(steps):
            image, label = batches.at(step)
            # row number in the left pixel, or in the right one after a flip; image 0 shows no difference
            pairs += [(int(k), bool(x[0, 0, 1] > 0)) for x, k in zip(image, label, strict=True)]
        return pairs

    one, other = flipped(2, 46), flipped(46, 2)
    assert one == other
    epochs = [dict(one[e * 23 : (e + 1) * 23]) for e in range(4)]
    share = sum(sum(epoch.values()) for epoch in epochs) / (4 * 22)
    assert 0.3 < share < 0.7
    assert epochs[0] != epochs[1]


def test_only_the_splits_rows_are_read_and_a_memory_mapped_set_reads_the_same() -> None:
    rows = [2, 3, 5, 7, 11, 13, 17]
    for resident in (True, False):
        assert sorted(seen(make(rows=rows, resident=resident), 7, range(1))) == rows
    a, b = make(resident=True), make(resident=False)
    assert seen(a, 5, range(20)) == seen(b, 5, range(20))


def test_split_batches_are_in_order_and_complete() -> None:
    split = make().split("test")
    assert len(split) == 3
    assert [batch[0].tolist() for batch in split.batches(("label",), 2)] == [[1, 4], [5]]
    assert split.take(9, ("label", "image"))[1].shape == (3, 1, 2, 2)


def test_per_epoch_counts_steps() -> None:
    assert make(20).batches(("image",), 8).per_epoch == 2.5


def test_what_cannot_be_had_is_a_config_error() -> None:
    data = make()
    with pytest.raises(ConfigError, match=r"no column 'lable'.*did you mean 'label'"):
        data.batches(("lable",), 4)
    with pytest.raises(ConfigError, match="no image in its valid split"):
        data.split("valid")
    with pytest.raises(ConfigError, match="unknown split 'tets'"):
        data.split("tets")
    with pytest.raises(ConfigError, match=r"batch of 10 cannot be divided among 4"):
        data.batches(("image",), 10, 0, 4)
    with pytest.raises(ConfigError, match=r"trainer.batch_size"):
        data.batches(("image",), 10).at(0, 0, 3)


@pytest.mark.parametrize("resident", [True, False])
def test_a_layout_changes_strides_and_no_value(resident: bool) -> None:
    images = torch.randint(0, 256, (20, 3, 4, 4), dtype=torch.uint8)
    splits = {"train": torch.arange(20), "valid": torch.arange(0), "test": torch.arange(0)}
    data = Data(Table("toy", {"image": images}, CPU, resident), splits, None, "f", 0, True)
    plain = data.batches(("image",), 6)
    last = data.batches(("image",), 6, memory_format=torch.channels_last)
    for step in range(5):
        [a], [b] = plain.at(step), last.at(step)
        assert a.is_contiguous()
        assert b.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(a, b)


class Counted(Table):
    """Notes the rows of each gather."""

    def gather(self, rows: Tensor, flips: Tensor | None, columns: Sequence[str]) -> Gathered:
        self.seen.append(rows.tolist())  # type: ignore[attr-defined]
        return super().gather(rows, flips, columns)


def counted(n: int = 23) -> tuple[Data, list[list[int]]]:
    table = Counted("toy", make(n, resident=False).table.columns, CPU, False)
    table.seen = seen = []  # type: ignore[attr-defined]
    splits = {"train": torch.arange(n), "valid": torch.arange(0), "test": torch.arange(0)}
    return Data(table, splits, None, "f", 3, False), seen


def test_each_batch_of_a_mapped_set_is_read_once_whatever_asks_for_it() -> None:
    data, gathered = counted()
    batches = data.batches(("image", "label"), 6)
    batches.end = 7
    for step in range(3, 7):  # as a resumed run with two phases, each of which draws three parts
        for _ in range(2):
            for part in range(3):
                batches.at(step, part, 3)
    assert gathered == [seen(make(), 6, range(step, step + 1)) for step in range(3, 7)]
    assert batches._prefetcher._thread is None  # nothing is left to read


def test_a_batch_is_read_while_the_one_before_is_in_use() -> None:
    data, gathered = counted()
    batches = data.batches(("label",), 4)
    batches.at(0)
    assert batches._prefetcher._next is not None
    batches._prefetcher._next[1].result(timeout=PATIENCE)
    assert len(gathered) == 2
    batches._prefetcher.close()


def test_what_goes_wrong_while_prefetching_is_raised_where_it_is_wanted(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((40, 3, 8, 8), np.uint8))
    stored = StoredArray(np.load(tmp_path / "images.npy", mmap_mode="c"))
    splits = {"train": torch.arange(40), "valid": torch.arange(0), "test": torch.arange(0)}
    batches = Data(Table("toy", {"image": stored}, CPU, False), splits, None, "f", 0, False).batches(("image",), 4)
    batches.at(0)
    batches._prefetcher._next[1].result()  # type: ignore[index]
    os.truncate(tmp_path / "images.npy", 200)
    batches.at(1)  # was read before
    with pytest.raises(DataError, match=r"images.npy cannot be read; it is truncated"):
        batches.at(2)
    batches._prefetcher.close()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_stored_rows_are_the_arrays(tmp_path: Path, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).integers(0, 250, (37, 2, 5)).astype(dtype)
    np.save(tmp_path / "images.npy", array)
    stored = StoredArray(np.load(tmp_path / "images.npy", mmap_mode="c"))
    rows = torch.tensor([36, 0, 5, 5, 17])
    out = torch.empty((5, *stored.shape[1:]), dtype=stored.dtype)
    assert np.array_equal(stored.take(rows, out).numpy(), array[rows])
    monkeypatch.setattr("genlab.data.store.stored_array.CHUNK", 48)  # rows lie across chunks
    assert np.array_equal(stored.load(CPU).numpy(), array)


def test_old_epochs_are_forgotten() -> None:
    order = Order(torch.arange(10), 0, False)
    for start in range(0, 1000, 7):
        order.take(start, 7)
    assert len(order._epochs) <= 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("parts", [1, 2])
def test_streaming_to_a_gpu_gives_what_a_resident_set_gives(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.data.store.stored_array.CHUNK", 1000)
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    splits = {"train": torch.arange(50), "valid": torch.arange(0), "test": torch.arange(0)}
    np.save(tmp_path / "images.npy", images.numpy())
    stored = StoredArray(np.load(tmp_path / "images.npy", mmap_mode="c"))
    columns = {"image": stored, "label": torch.arange(50)}
    made = [
        Data(Table("toy", columns, device, resident), splits, None, "f", 0, True).batches(("image", "label"), 8)
        for device, resident in ((CPU, True), (torch.device("cuda"), True), (torch.device("cuda"), False))
    ]
    for step in (0, 1, 2, 7, 8, 3):
        for part in range(parts):
            reference, *others = (batches.at(step, part, parts) for batches in made)
            for columns_there in others:
                for a, b in zip(reference, columns_there, strict=True):
                    assert b.device.type == "cuda"
                    assert torch.equal(a, b.cpu())


def test_the_processes_of_a_run_share_the_hosts_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(table, "free_memory", lambda device: 400)
    assert table.fits(100, CPU)
    for name, value in launcher.environment(0, 4, 29500).items():
        monkeypatch.setenv(name, value)
    assert table.fits(25, CPU)
    assert not table.fits(26, CPU)
    assert table.fits(200, torch.device("cuda"))  # each has a GPU of its own

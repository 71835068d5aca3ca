"""A store whose bytes change on the disk: found while training, and by `genlab prepare ... verify=true`."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from genlab.checkpoint.manager import Checkpoints
from genlab.cli.main import main
from genlab.data import rolling_check
from genlab.data.loader import Data
from genlab.data.rolling_check import RollingCheck
from genlab.data.store import decoding, store
from genlab.data.store.hashing import json_hash
from genlab.data.store.stored_array import StoredArray
from genlab.errors import DataError
from tests.support.data import CPU, folder, opened, plain, stores

pytestmark = pytest.mark.usefixtures("fresh", "large")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small stores are treated as large ones: not hashed at each opening, in several blocks of several pieces."""
    monkeypatch.setattr(store, "SMALL", 0)
    monkeypatch.setattr(decoding, "BLOCK", 16)
    monkeypatch.setattr(rolling_check, "PIECE", 5000)
    monkeypatch.setattr(rolling_check, "BUSY", 1.0)  # without rests


def flip(file: Path, position: int) -> None:
    with file.open("r+b") as opened_file:
        opened_file.seek(position)
        byte = opened_file.read(1)[0]
        opened_file.seek(position)
        opened_file.write(bytes([byte ^ 1 << position % 8]))


def advance(check: RollingCheck, pieces: int, first: int = 0) -> None:
    """Check `pieces` pieces, each to its end."""
    for step in range(first, first + pieces):
        check.advance(step)
        assert check._begun is not None
        check._begun.exception(timeout=60)


def image_file(tmp_path: Path) -> StoredArray:
    """60 images of 784 bytes: three blocks of 12,544 bytes, three pieces each, and a shorter one of two."""
    built = plain(tmp_path).prepare()
    assert built.blocks is not None
    assert len(built.blocks.digests) == 4
    return StoredArray(built.images, built.blocks)


def test_a_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    images = image_file(tmp_path)
    whole = images.path.read_bytes()
    start = len(whole) - images.nbytes
    draw = random.Random(0)
    for position in [0, start - 1, start, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(100))]:
        flip(images.path, position)
        if position < start:
            with pytest.raises(store.Damaged):
                store._open(images.path.parent, verify=False)
        else:
            check = RollingCheck(images)
            with pytest.raises(DataError, match=rf"block {(position - start) // 12_544}, .*verify=true") as caught:
                advance(check, 13, first=draw.randrange(100))
            check.close()
            assert "\n" not in str(caught.value)
        flip(images.path, position)
    assert images.path.read_bytes() == whole
    check = RollingCheck(images)
    advance(check, 30)
    check.close()


def test_the_ranks_of_a_host_divide_the_blocks(tmp_path: Path) -> None:
    images = image_file(tmp_path)
    flip(images.path, images.path.stat().st_size - 1)  # in block 3
    other, finder = (RollingCheck(images, part, parts=2) for part in (0, 1))
    advance(other, 30)
    with pytest.raises(DataError, match="block 3"):
        advance(finder, 7)
    for check in (other, finder):
        check.close()


def test_every_host_checks_all_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks 2 and 3 of four are alone on their host: together they read each block of its disk."""
    images = image_file(tmp_path)
    environment = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    read, fill = set[int](), images.fill

    def noted(buffer: np.ndarray, offset: int) -> None:
        read.add(offset // 12_544)
        fill(buffer, offset)

    monkeypatch.setattr(images, "fill", noted)
    for rank in (2, 3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank - 2))
        check = RollingCheck.on_this_host(images)
        advance(check, 6)
        check.close()
    assert read == {0, 1, 2, 3}


def test_the_check_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that takes a second is followed by 99 of rest."""
    now = [0.0]
    monkeypatch.setattr(rolling_check, "BUSY", 0.01)
    monkeypatch.setattr(rolling_check.time, "perf_counter", lambda: now[0])
    images = image_file(tmp_path)
    fill = images.fill

    def slow(*arguments: object) -> None:
        fill(*arguments)
        now[0] += 1.0

    monkeypatch.setattr(images, "fill", slow)
    check = RollingCheck(images)
    advance(check, 1)
    first = check._begun
    for moment, begins in ((50.0, False), (99.9, False), (100.0, True)):
        now[0] = moment
        check.advance(1)
        assert (check._begun is not first) == begins
    check.close()


@pytest.mark.parametrize("derived", ["unpaired", "colorize", "generated", None])
def test_every_set_of_a_store_is_checked(tmp_path: Path, derived: str | None) -> None:
    folder(tmp_path)
    base = {"name": "folder", "root": str(tmp_path / "pictures"), "size": 8, "valid": 0, "test": 0}
    keys = {
        "unpaired": {"base": base, "size": 8, "classes": [0, 1]},
        "colorize": {"base": base, "size": 8},
        "generated": {"real": base, "samples": str(tmp_path / "samples.npy")},
    }
    np.save(tmp_path / "samples.npy", np.zeros((12, 3, 8, 8), np.uint8))
    data: Data = opened(derived, **keys[derived]) if derived else folder(tmp_path).open(CPU)
    others = set(threading.enumerate())  # other tests' loaders may wait for the garbage collector
    batches = data.batches(("image",), 2)
    assert data.resident
    assert batches._check is not None
    images = data.table.stored
    assert images is not None
    flip(images.path, images.path.stat().st_size - 1)
    for step in range(2):
        batches.at(step)
        assert batches._check._begun is not None
        batches._check._begun.exception(timeout=60)
    with pytest.raises(DataError, match="has changed since it was decoded"):
        batches.at(2)
    batches.close()
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name.startswith("genlab-data")]


def test_training_ends_with_code_3_and_prepare_repairs(
    tmp_path: Path, fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain(tmp_path)
    words = ["dataset=mnist", f"dataset.root={tmp_path / 'root'}", "dataset.valid=10"]
    train = ["train", *words, "model=vae", "model.network.hidden=[4]", "evaluator=none", "trainer.batch_size=4",
             "checkpoint.every=1", "logger.tensorboard=null", f"hydra.run.dir={tmp_path / 'run'}"]  # fmt: skip
    assert main([*train, "trainer.steps=2"]) == 0
    [path] = stores(fresh)
    whole = (path / "images.npy").read_bytes()
    flip(path / "images.npy", len(whole) - 1)
    capsys.readouterr()
    longer = [*train, "trainer.steps=100000", "checkpoint.every=100000"]
    assert main(longer) == 3
    said = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(said) == 1
    assert f"{path / 'images.npy'} has changed since it was decoded; block " in said[0]
    found = Checkpoints(tmp_path / "run" / "ckpt").newest()
    assert found is not None
    assert found.step == 2
    assert main(["prepare", *words, "verify=true"]) == 0
    told = capsys.readouterr()
    assert "is damaged (images.npy has another sha256); rebuilding it" in told.err
    assert "every byte compared with its hash" in told.out
    assert (path / "images.npy").read_bytes() == whole
    assert main([*train, "trainer.steps=4"]) == 0


def test_an_older_store_is_read_and_says_what_it_lacks(
    tmp_path: Path, fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain(tmp_path).prepare()
    [path] = stores(fresh)
    (path / "images.sha256").unlink()
    meta = json.loads((path / "meta.json").read_text())
    del meta["files"]["images.sha256"], meta["sha256"]
    (path / "meta.json").write_text(json.dumps({**meta, "sha256": json_hash(meta)}))
    assert plain(tmp_path).open(CPU).table.stored is None
    words = ["dataset=mnist", f"dataset.root={tmp_path / 'root'}"]
    assert main(["prepare", *words, "verify=true"]) == 0
    told = capsys.readouterr()
    assert "every byte compared" in told.out
    assert f"{path} was decoded by an older genlab" in told.err
    flip(path / "images.npy", 300)
    assert main(["prepare", *words, "verify=true"]) == 0
    assert "damaged" in capsys.readouterr().err
    assert plain(tmp_path).open(CPU).table.stored is not None


def test_verify_is_true_or_false(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "verify=perhaps"]) == 2
    assert "bad value 'perhaps' for 'verify'" in capsys.readouterr().err

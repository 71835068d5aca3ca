from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab import children
from genlab.data import building, decoding, isolate, store
from genlab.data.fingerprint import fingerprint
from genlab.data.folder import Folder
from genlab.data.mnist import MNIST
from genlab.data.rows import StoredRows
from genlab.errors import ConfigError, DataError, ResourceError
from genlab.progress import store_progress
from tests.data import synthetic

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("fresh")


def folder(tmp_path: Path, n: int = 12, **keys: object) -> Folder:
    root = tmp_path / "pictures"
    if not root.exists():
        synthetic.folder(root, {"cat": n // 2, "dog": n // 2})
    return Folder(str(root), size=8, **keys)


def plain(tmp_path: Path) -> MNIST:
    """A set that needs no decoding, so no child process."""
    root = tmp_path / "root"
    if not root.exists():
        synthetic.mnist(root)
    return MNIST(str(root), valid=10)


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def stores(cache: Path) -> list[Path]:
    return [path for path in (cache / "store").iterdir() if (path / "meta.json").exists()]


def test_it_is_built_once_and_read_afterwards(tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, int]] = []
    first = folder(tmp_path).open(CPU, lambda done, total: shown.append((done, total)))
    assert shown[-1] == (12, 12)
    monkeypatch.setattr(Folder, "read", lambda self: pytest.fail("decoded twice"))
    again = folder(tmp_path, seed=5, limit=4, flip=True).open(CPU)  # none of these changes the pixels
    assert len(stores(fresh)) == 1
    assert again.fingerprint != first.fingerprint
    assert not [path for path in (fresh / "store").iterdir() if path.name.startswith(".")]


def test_the_build_says_how_fast_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with store_progress() as show:
        for done in (30, 60, 120):
            show(done, 120)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"genlab: decoding images: 60 of 120, [\d,]+ images/s", lines[1])


def test_another_size_or_another_source_is_another_store(tmp_path: Path, fresh: Path) -> None:
    folder(tmp_path).open(CPU)
    Folder(str(tmp_path / "pictures"), size=9).open(CPU)
    Folder(str(tmp_path / "pictures"), size=8, channels=1).open(CPU)
    assert len(stores(fresh)) == 3
    (tmp_path / "pictures" / "cat" / "new.png").write_bytes(synthetic.encoded(synthetic.photo(99), "PNG"))
    folder(tmp_path).open(CPU)
    assert len(stores(fresh)) == 4


def test_the_fingerprint_is_of_contents_not_of_the_place(tmp_path: Path) -> None:
    import shutil

    synthetic.folder(tmp_path / "a", {"x": 3, "y": 2})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert fingerprint([tmp_path / "a"]) == fingerprint([tmp_path / "b"])
    assert Folder(str(tmp_path / "a")).open(CPU).fingerprint == Folder(str(tmp_path / "b")).open(CPU).fingerprint
    (tmp_path / "b" / "x" / "000.png").rename(tmp_path / "b" / "x" / "009.png")
    assert fingerprint([tmp_path / "a"]) != fingerprint([tmp_path / "b"])


def test_a_known_source_is_not_walked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = synthetic.folder(tmp_path / "a", {"x": 3, "y/z": 2})
    before = fingerprint([root])
    monkeypatch.setattr("genlab.data.fingerprint._absorb", lambda *_: pytest.fail("walked again"))
    assert fingerprint([root]) == before
    monkeypatch.undo()


def test_pictures_overwritten_in_place_are_noticed(tmp_path: Path) -> None:
    root = synthetic.folder(tmp_path / "a", {"x": 3, "y/z": 2})
    before = fingerprint([root])
    for file in root.rglob("*.png"):
        with file.open("r+b") as opened:  # no folder shows that
            opened.write(b"changed")
    assert fingerprint([root]) != before


def test_a_change_deep_below_is_noticed(tmp_path: Path) -> None:
    root = synthetic.folder(tmp_path / "a", {"x": 3, "y/z": 2})
    before = fingerprint([root])
    (root / "y" / "z" / "new.png").write_bytes(b"x")
    assert fingerprint([root]) != before


@pytest.mark.parametrize("memory", ["", "[]", "{}", '{"watched": 3}', '{"watched": {}, "fingerprint": 3}', "\x00"])
def test_a_damaged_memory_of_fingerprints_is_no_harm(tmp_path: Path, fresh: Path, memory: str) -> None:
    root = synthetic.folder(tmp_path / "a", {"x": 3})
    before = fingerprint([root])
    [file] = (fresh / "store" / "seen").iterdir()
    file.write_text(memory)
    assert fingerprint([root]) == before


def test_the_number_of_workers_changes_nothing(tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(decoding, "BLOCK", 3)
    for workers in (1, 2, 5):
        monkeypatch.setenv("GENLAB_CACHE", str(fresh / str(workers)))
        monkeypatch.setattr(children, "cores", lambda count=workers: count)
        made.append(contents(folder(tmp_path, 14).prepare().path))
    assert made[0] == made[1] == made[2]
    assert list(made[0]) == ["images.npy", "labels.npy", "meta.json"]


def test_rows_are_the_pictures_in_order(tmp_path: Path) -> None:
    from genlab.data.images import Form, decode

    built = folder(tmp_path).prepare()
    files = sorted((tmp_path / "pictures").rglob("*.png"))
    for row, file in zip(built.images, files, strict=True):
        assert np.array_equal(row, decode(file.read_bytes(), Form(8)))
    assert built.labels is not None
    assert [built.label_names[k] for k in built.labels] == [file.parent.name for file in files]  # type: ignore[index]


BUILD = """
import sys
from genlab.data.folder import Folder
print(Folder(sys.argv[1], size=8).prepare(lambda done, total: print("built", file=sys.stderr)).path)
"""


def test_processes_that_build_at_once_make_one(tmp_path: Path, fresh: Path) -> None:
    root = synthetic.folder(tmp_path / "pictures", {"a": 150, "b": 150})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([sys.executable, "-c", BUILD, str(root)], env=environment, stdout=-1, stderr=-1, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    assert len({out for out, _ in answers}) == 1
    assert sum("built" in err for _, err in answers) == 1
    assert len(stores(fresh)) == 1


DAMAGE = {
    "images cut": lambda path: os.truncate(path / "images.npy", 200),
    "images gone": lambda path: (path / "images.npy").unlink(),
    "images a pickle": lambda path: (path / "images.npy").write_bytes(
        b"\x80\x04" + (path / "images.npy").read_bytes()[2:]
    ),
    "labels changed": lambda path: flip(path / "labels.npy"),
    "meta gone": lambda path: (path / "meta.json").unlink(),
    "meta empty": lambda path: (path / "meta.json").write_text(""),
    "meta a list": lambda path: (path / "meta.json").write_text("[]"),
    "meta changed": lambda path: (path / "meta.json").write_text(
        json.dumps({**json.loads((path / "meta.json").read_text()), "skipped": [1]})
    ),
}


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_store_is_rebuilt_with_one_warning(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plain(tmp_path).prepare().path
    whole = contents(path)
    DAMAGE[how](path)
    plain(tmp_path).open(CPU)
    assert contents(path) == whole
    assert capsys.readouterr().err.count("warning") == 1
    plain(tmp_path).open(CPU)
    assert capsys.readouterr().err == ""


def test_verify_finds_what_opening_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SMALL", 0)  # as if images.npy were large
    path = plain(tmp_path).prepare().path
    whole = contents(path)
    flip(path / "images.npy")
    plain(tmp_path).prepare()
    assert contents(path) != whole
    plain(tmp_path).prepare(verify=True)
    assert contents(path) == whole


def test_a_run_cannot_write_into_the_store(tmp_path: Path) -> None:
    built = plain(tmp_path).prepare()
    whole = contents(built.path)
    with pytest.raises(ValueError, match="read-only"):
        built.images[:] = 0
    assert contents(built.path) == whole


class Killed(BaseException):
    """Stands for a signal in the middle of a build."""


def interrupted(dataset: Folder, blocks: int) -> Path:
    """A build that a signal ends after some finished blocks; returns what it leaves behind."""

    def show(done: int, total: int) -> None:
        nonlocal blocks
        blocks -= 1
        if not blocks:
            raise Killed

    with pytest.raises(Killed):
        dataset.prepare(show)
    [left] = [path for path in (Path(os.environ["GENLAB_CACHE"]) / "store").iterdir() if path.suffix == ".part"]
    return left


def uninterrupted(tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The store of a build in blocks of 3 rows by one child; the next one is built in another cache."""
    monkeypatch.setattr(decoding, "BLOCK", 3)
    monkeypatch.setattr(children, "cores", lambda: 1)
    whole = contents(folder(tmp_path, 14).prepare().path)
    monkeypatch.setenv("GENLAB_CACHE", str(fresh / "other"))
    return whole


def test_an_interrupted_build_goes_on_from_its_finished_blocks(
    tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = uninterrupted(tmp_path, fresh, monkeypatch)
    left = interrupted(folder(tmp_path), 2)
    notes = (left / "images.npy.blocks").read_text()
    assert notes.count("\n") == 2
    (left / "images.npy.blocks").write_text(notes + "[6, 3, ")  # cut by the kill
    for file in sorted((tmp_path / "pictures").rglob("*.png"))[:6]:  # what is done is not read again
        os.truncate(file, 20)
    source = json.loads(whole["meta.json"])["facts"]["source"]
    monkeypatch.setattr("genlab.data.dataset.fingerprint", lambda files: source)
    assert contents(folder(tmp_path).prepare().path) == whole
    assert not left.exists()


def test_a_block_that_is_not_what_was_noted_is_decoded_again(
    tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = uninterrupted(tmp_path, fresh, monkeypatch)
    left = interrupted(folder(tmp_path), 3)
    images = bytearray((left / "images.npy").read_bytes())
    for row in range(14):  # as if the disk had lost what was written last
        images[128 + row * 192] ^= 1
    (left / "images.npy").write_bytes(images)
    assert contents(folder(tmp_path).prepare().path) == whole


def test_a_header_that_an_interrupted_build_lost_is_written_again(
    tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = uninterrupted(tmp_path, fresh, monkeypatch)
    with (interrupted(folder(tmp_path), 2) / "images.npy").open("r+b") as images:
        images.write(bytes(128))
    assert contents(folder(tmp_path).prepare().path) == whole


def test_a_build_killed_before_the_rename_keeps_its_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: Path, target: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(building.os, "rename", killed)
        with pytest.raises(Killed):
            folder(tmp_path).prepare()
    [left] = (Path(os.environ["GENLAB_CACHE"]) / "store").glob(".*.part")
    assert (left / "images.npy.blocks").exists()


def test_a_disk_that_loses_what_was_built_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(path: Path, source: object, facts: object, show: object) -> None:
        building.build(path, source, facts, show)  # type: ignore[arg-type]
        os.truncate(path / "images.npy", 100)

    monkeypatch.setattr(store, "build", lossy)
    with pytest.raises(DataError, match="does not read as it was written"):
        plain(tmp_path).prepare()


def test_the_first_unreadable_picture_is_named(tmp_path: Path, fresh: Path) -> None:
    dataset = folder(tmp_path)
    bad = tmp_path / "pictures" / "cat" / "003.png"
    bad.write_bytes(bad.read_bytes()[:90])
    with pytest.raises(DataError, match=f"picture 3, {bad}, cannot be read.*dataset.on_error=skip") as caught:
        dataset.open(CPU)
    assert "\n" not in str(caught.value)
    assert not [path for path in (fresh / "store").iterdir() if path.is_dir() and path.name != "seen"]


def test_unreadable_pictures_can_be_left_out_up_to_a_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = folder(tmp_path, on_error="skip", valid=0, test=0)
    (tmp_path / "pictures" / "cat" / "003.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 12 pictures cannot be read, more than the 0 that may be left out"):
        dataset.open(CPU)
    monkeypatch.setattr(building, "SKIPPABLE", 0.1)
    data = dataset.open(CPU)
    assert "1 of 12 pictures cannot be read and are left out" in capsys.readouterr().err
    train = data.split("train")
    assert train.rows.tolist() == [0, 1, 2, *range(4, 12)]


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    plain(tmp_path)  # writes its source files
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # EFBIG, as a full disk gives ENOSPC
    try:
        with pytest.raises(ResourceError, match="disk is full"):
            plain(tmp_path).open(CPU)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stores(fresh) == []
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 1000}))
    with pytest.raises(ResourceError, match="needs 47040 bytes and 1000 are free"):
        plain(tmp_path).open(CPU)


def test_a_full_disk_in_a_child_is_a_resource_error(tmp_path: Path) -> None:
    dataset = folder(tmp_path)
    dataset.files()
    full = tmp_path / "images.npy"
    full.symlink_to("/dev/full")
    job = decoding.DecodeJob(dataset.read().images, dataset.form, str(full), 0, False)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space left"):
        decoding.decode_all(job, 0)


def test_an_unwritable_cache_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="GENLAB_CACHE"):
        folder(tmp_path).open(CPU)


def test_a_store_larger_than_the_memory_opens(tmp_path: Path) -> None:
    path = plain(tmp_path).prepare().path
    shape = (10**8, 3, 64, 64)  # 1.2 TB, all of it a hole
    start = decoding.header(shape)
    (path / "images.npy").write_bytes(start)
    os.truncate(path / "images.npy", len(start) + 12288 * 10**8)
    mapped = store._map(path / "images.npy")
    assert mapped.shape == shape
    rows = StoredRows(mapped)
    out = torch.ones((2, *rows.shape[1:]), dtype=rows.dtype)
    assert not rows.take(torch.tensor([0, 10**8 - 1]), out).any()


def test_a_large_set_stays_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = folder(tmp_path).open(CPU)
    nbytes = 12 * 3 * 8 * 8
    assert resident.resident
    assert resident.nbytes == nbytes
    monkeypatch.setattr("genlab.data.table.free_memory", lambda _: 4 * nbytes - 1)
    mapped = folder(tmp_path).open(CPU)
    assert not mapped.resident
    for a, b in zip(
        resident.batches(("image", "label"), 5).at(9), mapped.batches(("image", "label"), 5).at(9), strict=True
    ):
        assert torch.equal(a, b)


def test_a_child_that_crashes_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"read x.mdb died \(signal SIGABRT\)"):
        list(isolate.run([(synthetic.crash, ())], "x.mdb"))


def test_a_file_in_the_working_folder_is_not_imported_by_children(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("open('canary', 'w')")
    folder(tmp_path).open(CPU)
    assert not (tmp_path / "canary").exists()

"""The store: built once, known by its contents, shared by processes, made again where it is damaged."""

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

from genlab.data.datasets.folder import Folder
from genlab.data.store import decoding, store
from genlab.data.store.fingerprint import fingerprint
from genlab.data.store.stored_array import StoredArray
from genlab.utils import subprocesses
from genlab.utils.progress import store_progress
from tests.support import synthetic
from tests.support.data import CPU, contents, folder, plain, stores
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.usefixtures("fresh")


def test_it_is_built_once_and_read_afterwards(tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, int]] = []
    first = folder(tmp_path).open(CPU, lambda done, total: shown.append((done, total)))
    assert shown[-1] == (12, 12)
    monkeypatch.setattr(Folder, "read", lambda self: pytest.fail("decoded twice"))
    again = folder(tmp_path, split_seed=5, limit=4, flip=True).open(CPU)  # none of these changes the pixels
    assert len(stores(fresh)) == 1
    assert again.fingerprint != first.fingerprint
    assert not [path for path in (fresh / "store").iterdir() if path.name.startswith(".")]


def test_the_journal_of_a_build_killed_at_its_end_is_removed(tmp_path: Path, fresh: Path) -> None:
    folder(tmp_path).open(CPU)
    left = decoding.journal(stores(fresh)[0] / "images.npy")
    left.write_text("")
    folder(tmp_path).open(CPU)
    assert not left.exists()


def test_the_build_says_how_fast_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with store_progress() as show:
        for done in (30, 60, 120):
            show(done, 120)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"genlab: decoding images: 60 of 120, [\d,]+ images/s", lines[1])


def test_another_size_or_another_source_is_another_store(tmp_path: Path, fresh: Path) -> None:
    folder(tmp_path).open(CPU)
    Folder(root=str(tmp_path / "pictures"), size=9).open(CPU)
    Folder(root=str(tmp_path / "pictures"), size=8, channels=1).open(CPU)
    assert len(stores(fresh)) == 3
    (tmp_path / "pictures" / "cat" / "new.png").write_bytes(synthetic.encoded(synthetic.photo(99), "PNG"))
    folder(tmp_path).open(CPU)
    assert len(stores(fresh)) == 4


def test_the_fingerprint_is_of_contents_not_of_the_place(tmp_path: Path) -> None:
    import shutil

    synthetic.folder(tmp_path / "a", {"x": 3, "y": 2})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert fingerprint([tmp_path / "a"]) == fingerprint([tmp_path / "b"])
    assert (
        Folder(root=str(tmp_path / "a")).open(CPU).fingerprint == Folder(root=str(tmp_path / "b")).open(CPU).fingerprint
    )
    (tmp_path / "b" / "x" / "000.png").rename(tmp_path / "b" / "x" / "009.png")
    assert fingerprint([tmp_path / "a"]) != fingerprint([tmp_path / "b"])


def test_a_known_source_is_not_walked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = synthetic.folder(tmp_path / "a", {"x": 3, "y/z": 2})
    before = fingerprint([root])
    monkeypatch.setattr("genlab.data.store.fingerprint._absorb", lambda *_: pytest.fail("walked again"))
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
        monkeypatch.setattr(subprocesses, "cores", lambda count=workers: count)
        made.append(contents(folder(tmp_path, 14).prepare().path))
    assert made[0] == made[1] == made[2]
    assert list(made[0]) == ["images.npy", "images.sha256", "labels.npy", "meta.json"]


def test_rows_are_the_pictures_in_order(tmp_path: Path) -> None:
    from genlab.data.store.image import Form, decode

    built = folder(tmp_path).prepare()
    files = sorted((tmp_path / "pictures").rglob("*.png"))
    for row, file in zip(built.images, files, strict=True):
        assert np.array_equal(row, decode(file.read_bytes(), Form(8)))
    assert built.labels is not None
    assert [built.label_names[k] for k in built.labels] == [file.parent.name for file in files]  # type: ignore[index]


BUILD = """
import sys
from genlab.data.datasets.folder import Folder
print(Folder(root=sys.argv[1], size=8).prepare(lambda done, total: print("built", file=sys.stderr)).path)
"""


def test_processes_that_build_at_once_make_one(tmp_path: Path, fresh: Path) -> None:
    root = synthetic.folder(tmp_path / "pictures", {"a": 150, "b": 150})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([sys.executable, "-c", BUILD, str(root)], env=environment, stdout=-1, stderr=-1, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=PATIENCE) for process in running]
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


def test_a_store_larger_than_the_memory_opens(tmp_path: Path) -> None:
    path = plain(tmp_path).prepare().path
    shape = (10**8, 3, 64, 64)  # 1.2 TB, all of it a hole
    start = decoding.header(shape)
    (path / "images.npy").write_bytes(start)
    os.truncate(path / "images.npy", len(start) + 12288 * 10**8)
    mapped = store._map(path / "images.npy")
    assert mapped.shape == shape
    rows = StoredArray(mapped)
    out = torch.ones((2, *rows.shape[1:]), dtype=rows.dtype)
    assert not rows.take(torch.tensor([0, 10**8 - 1]), out).any()


def test_a_large_set_stays_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = folder(tmp_path).open(CPU)
    nbytes = 12 * 3 * 8 * 8
    assert resident.resident
    assert resident.nbytes == nbytes
    monkeypatch.setattr("genlab.data.store.table.free_memory", lambda _: 4 * nbytes - 1)
    mapped = folder(tmp_path).open(CPU)
    assert not mapped.resident
    for a, b in zip(
        resident.batches(("image", "label"), 5).at(9), mapped.batches(("image", "label"), 5).at(9), strict=True
    ):
        assert torch.equal(a, b)

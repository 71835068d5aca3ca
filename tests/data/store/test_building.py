"""Building a store: what an interrupted build keeps, pictures that cannot be read, full disks, children."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from genlab.data.datasets.folder import Folder
from genlab.data.store import build, decoding, isolate, store
from genlab.errors import ConfigError, DataError, ResourceError
from genlab.utils import subprocesses
from tests.support import synthetic
from tests.support.data import CPU, contents, folder, plain, stores

pytestmark = pytest.mark.usefixtures("fresh")


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
    monkeypatch.setattr(subprocesses, "cores", lambda: 1)
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
    source = json.loads(whole["meta.json"])["key"]["source"]
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
        patch.setattr(build.os, "rename", killed)
        with pytest.raises(Killed):
            folder(tmp_path).prepare()
    [left] = (Path(os.environ["GENLAB_CACHE"]) / "store").glob(".*.part")
    assert (left / "images.npy.blocks").exists()


def test_a_disk_that_loses_what_was_built_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(path: Path, source: object, key: object, progress: object) -> None:
        build.build(path, source, key, progress)  # type: ignore[arg-type]
        os.truncate(path / "images.npy", 100)

    monkeypatch.setattr(store, "build", lossy)
    with pytest.raises(DataError, match="does not read as it was written"):
        plain(tmp_path).prepare()


def test_the_first_unreadable_picture_is_named(tmp_path: Path, fresh: Path) -> None:
    dataset = folder(tmp_path)
    bad = tmp_path / "pictures" / "cat" / "003.png"
    bad.write_bytes(bad.read_bytes()[:90])
    with pytest.raises(DataError, match=f"image 3, {bad}, cannot be read.*dataset.on_error=skip") as caught:
        dataset.open(CPU)
    assert "\n" not in str(caught.value)
    assert not [path for path in (fresh / "store").iterdir() if path.is_dir() and path.name != "seen"]


def test_unreadable_pictures_can_be_left_out_up_to_a_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = folder(tmp_path, on_error="skip", valid=0, test=0)
    for name in ("002", "003"):
        (tmp_path / "pictures" / "cat" / f"{name}.png").write_bytes(b"")
    with pytest.raises(DataError, match="2 of 12 images cannot be read, more than the 1 that may be left out"):
        dataset.open(CPU)
    monkeypatch.setattr(build, "SKIPPABLE", 0.2)
    data = dataset.open(CPU)
    assert "2 of 12 images cannot be read and are left out" in capsys.readouterr().err
    train = data.split("train")
    assert train.indices.tolist() == [0, 1, *range(4, 12)]


def test_one_unreadable_picture_can_be_left_out_of_a_small_set(tmp_path: Path) -> None:
    dataset = folder(tmp_path, on_error="skip", valid=0, test=0)
    (tmp_path / "pictures" / "cat" / "003.png").write_bytes(b"")
    assert len(dataset.open(CPU).split("train")) == 11


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
    job = decoding.DecodeJob(dataset.read().images, dataset.read().form, str(full), 0, False)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space left"):
        decoding.decode_all(job, 0)


def test_an_unwritable_cache_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="GENLAB_CACHE"):
        folder(tmp_path).open(CPU)


def test_a_child_that_crashes_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"read x.mdb died \(signal SIGABRT\)"):
        list(isolate.run([(synthetic.crash, ())], "x.mdb"))


def test_a_file_in_the_working_folder_is_not_imported_by_children(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("open('canary', 'w')")
    folder(tmp_path).open(CPU)
    assert not (tmp_path / "canary").exists()

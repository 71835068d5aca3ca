"""A file that is written appears whole or not at all, and no link leads out of the folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.errors import CheckpointError, ResourceError
from genlab.utils.own_folder import OwnFolder


@pytest.fixture
def folder(tmp_path: Path) -> OwnFolder:
    (tmp_path / "own").mkdir()
    return OwnFolder(tmp_path / "own")


def content(path: Path) -> dict[str, str]:
    return {str(each.relative_to(path)): each.read_text() for each in path.rglob("*") if each.is_file()}


def write_half_of(folder: OwnFolder, name: str) -> None:
    with folder.replacing(name) as file:
        file.write(b"half")
        raise ZeroDivisionError


def test_a_file_is_replaced_when_the_block_ends_and_kept_when_it_fails(folder: OwnFolder) -> None:
    folder.write("a/b.txt", b"old")
    with pytest.raises(ZeroDivisionError):
        write_half_of(folder, "a/b.txt")
    assert content(folder.path) == {"a/b.txt": "old"}
    with folder.replacing("a/b.txt") as file:
        file.write(b"new")
        assert (folder.path / "a/b.txt").read_text() == "old"
    assert content(folder.path) == {"a/b.txt": "new"}


@pytest.mark.parametrize("name", ["a.txt", ".tmp-a.txt.PID"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_the_place_of_a_file_is_replaced(
    name: str, link: Callable[[Path, Path], None], folder: OwnFolder, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("mine")
    link(tmp_path / "victim", folder.path / name.replace("PID", str(os.getpid())))
    folder.write("a.txt", b"new")
    assert content(folder.path) == {"a.txt": "new"}
    assert (tmp_path / "victim").read_text() == "mine"


USES: dict[str, Callable[[OwnFolder, str], object]] = {
    "write": lambda folder, name: folder.write(name, b"new"),
    "append": lambda folder, name: folder.append(name),
    "read": lambda folder, name: folder.read(name),
    "names": lambda folder, name: folder.names(name),
    "make": lambda folder, name: folder.make(name),
    "delete": lambda folder, name: folder.delete(name),
}


@pytest.mark.parametrize("name", ["a/b", "a/b/c", "a/b/c/d"])
@pytest.mark.parametrize("use", USES)
def test_a_link_in_the_place_of_a_folder_is_refused(use: str, name: str, folder: OwnFolder, tmp_path: Path) -> None:
    (tmp_path / "outside/b/c").mkdir(parents=True)
    (tmp_path / "outside/b/c/d").write_text("mine")
    before = content(tmp_path / "outside")
    (folder.path / "a").symlink_to("../outside")
    with pytest.raises(CheckpointError, match="'a' is a link"):
        USES[use](folder, name)
    assert content(tmp_path / "outside") == before


def test_a_file_that_is_a_link_is_neither_read_nor_appended_to(folder: OwnFolder, tmp_path: Path) -> None:
    (folder.path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CheckpointError):
        folder.read("a")
    with pytest.raises(CheckpointError, match="'a' is a link"):
        folder.append("a")
    assert not (tmp_path / "nowhere").exists()
    folder.delete("a")
    assert folder.read("a") is None


@pytest.mark.parametrize("plant", [os.link, lambda _, name: os.mkfifo(name), lambda _, name: name.mkdir()])
def test_a_file_outside_with_a_second_name_in_the_folder_is_not_appended_to(
    plant: Callable[[Path, Path], None], folder: OwnFolder, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("mine")
    plant(tmp_path / "victim", folder.path / "a")
    with pytest.raises(CheckpointError, match="'a' is a link or of the wrong type"):
        folder.append("a")
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("change", ["removed", "moved", "replaced"])
def test_a_folder_that_is_gone_is_not_made_anew(change: str, folder: OwnFolder) -> None:
    if change == "removed":
        shutil.rmtree(folder.path)
    else:
        folder.path.rename(folder.path.with_name("other"))
    if change == "replaced":
        folder.path.mkdir()
    with pytest.raises(ResourceError, match="removed or moved"):
        folder.write("a", b"new")
    assert not (folder.path / "a").exists()


def test_an_open_file_is_missed_where_it_was(folder: OwnFolder) -> None:
    with folder.append("a") as file:
        folder.check("a", file.fileno())
        (folder.path / "a").unlink()
        for _ in range(2):  # removed, then replaced
            with pytest.raises(ResourceError, match="'a' was removed"):
                folder.check("a", file.fileno())
            (folder.path / "a").touch()


def test_what_killed_processes_left_is_swept(folder: OwnFolder) -> None:
    kept = ["a.txt", "x/.tmp-a", "x/y/live"]
    for name in [*kept, ".tmp-a.txt.123", "x/.tmp-b.png.9", "x/y/.tmp-c.1"]:
        folder.write(name, b"")
    with contextlib.ExitStack() as held:
        file = held.enter_context((folder.path / "x/.tmp-live.77").open("w"))
        fcntl.flock(file, fcntl.LOCK_EX)
        folder.sweep()
        assert sorted(content(folder.path)) == sorted([*kept, "x/.tmp-live.77"])
    folder.sweep()
    assert sorted(content(folder.path)) == sorted(kept)


def test_a_sweep_ends_in_folders_nested_without_end(folder: OwnFolder) -> None:
    with contextlib.chdir(folder.path):
        for _ in range(2000):
            os.mkdir("a")
            os.chdir("a")
    folder.sweep()
    subprocess.run(["rm", "-rf", str(folder.path)], check=True)  # pytest's own cleaning recurses

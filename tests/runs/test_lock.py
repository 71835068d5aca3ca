"""Claiming a run: one owner at a time, distinct names, locks that end with their process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from genlab.errors import BusyError, ConfigError
from genlab.runs.run_folder import RunFolder, scan
from tests.support.durable import everything, in_child


def hold(path: Path, exact: bool = True) -> int:
    """A child that has claimed `path` and holds it until it is killed."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run = RunFolder.claim(path, exact)
            run.update(status="running", started=time.time())
            os.write(write_end, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write_end)
    assert os.read(read_end, 1) == b"x"
    os.close(read_end)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_simultaneous_claims_get_distinct_folders(tmp_path: Path) -> None:
    """Eight processes claim the same name in the same moment."""
    gate, start = os.pipe()
    children = []
    for index in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(start)
                os.read(gate, 1)  # all are let go when the parent closes the other end
                run = RunFolder.claim(Path("outputs/vae-digits/2026"), exact=False)
                run.update(index=index)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    os.close(start)
    os.close(gate)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 8
    folders = sorted(Path("outputs/vae-digits").iterdir())
    assert [folder.name for folder in folders] == ["2026", *(f"2026-{i}" for i in range(1, 8))]
    assert sorted(json.loads((folder / "run.json").read_text())["index"] for folder in folders) == [*range(8)]


def test_simultaneous_claims_of_one_folder_have_one_winner(tmp_path: Path) -> None:
    for trial in range(3):
        gate, start = os.pipe()
        done_read, done = os.pipe()
        children = []
        for _ in range(8):
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(start)
                    os.close(done_read)
                    os.read(gate, 1)
                    try:
                        RunFolder.claim(tmp_path / f"run{trial}", exact=True)
                    except BusyError:
                        os.write(done, b"b")
                        os._exit(7)
                    os.write(done, b"w")
                    signal.pause()
                finally:
                    os._exit(1)
            children.append(pid)
        os.close(start)
        answers = b"".join(os.read(done_read, 1) for _ in children)
        for pid in children:
            kill(pid)
        for fd in (gate, done, done_read):
            os.close(fd)
        assert sorted(answers) == sorted(b"bbbbbbbw")


def test_the_second_is_told_who_is_first(tmp_path: Path) -> None:
    path = tmp_path / "run"
    pid = hold(path)
    try:
        for enter in (lambda: RunFolder.claim(path, exact=True), lambda: RunFolder.open(path)):
            with pytest.raises(BusyError) as caught:
                enter()
            message = str(caught.value)
            assert caught.value.code == 7
            assert f"process {pid} on {os.uname().nodename}" in message
            assert "seconds ago" in message
            assert str(path) in message
        assert json.loads((path / "lock").read_text())["pid"] == pid  # the first one's note is unharmed
        assert scan(tmp_path)[0]["status"] == "running"
    finally:
        kill(pid)
    assert scan(tmp_path)[0]["status"] == "killed"
    RunFolder.open(path).release()  # free the moment the holder is dead


def test_an_orphaned_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A data worker that outlives its killed parent: an inherited flock would stay held for its whole life."""
    path, (read_end, write_end) = tmp_path / "run", os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            RunFolder.claim(path, exact=True).update(status="running")
            worker = os.fork()
            if worker == 0:
                time.sleep(6000)
            os.write(write_end, str(worker).encode())
            signal.pause()
        finally:
            os._exit(1)
    worker = int(os.read(read_end, 20))
    kill(pid)
    try:
        RunFolder.open(path).release()
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(read_end)
        os.close(write_end)


def test_one_process_cannot_hold_a_run_twice_or_lose_its_lock_by_looking(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run = RunFolder.claim(path, exact=True)
    run.update(status="running")
    with pytest.raises(BusyError, match=str(os.getpid())):
        RunFolder.claim(path, exact=True)
    assert scan(tmp_path)[0]["status"] == "running"  # closing any descriptor of the file would free the lock

    def intrude() -> None:
        with pytest.raises(BusyError):
            RunFolder.open(path)

    assert in_child(intrude) == 0
    run.release()
    run.release()
    assert scan(tmp_path)[0]["status"] == "killed"
    RunFolder.open(path).release()


def test_a_look_does_not_make_a_start_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`genlab runs` asks whether the lock is held, and holds a shared one while it asks: until the start has paused."""
    path, (read_end, write_end), (pauses, says_pause) = tmp_path / "run", os.pipe(), os.pipe()
    RunFolder.claim(path, exact=True).release()
    pid = os.fork()
    if pid == 0:
        try:
            with open(path / "lock", "rb") as file:
                fcntl.lockf(file, fcntl.LOCK_SH)
                os.write(write_end, b"x")
                os.read(pauses, 1)
        finally:
            os._exit(0)
    os.read(read_end, 1)
    paused = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        os.write(says_pause, b"x")
        os.waitpid(pid, 0)

    monkeypatch.setattr(time, "sleep", pause)
    RunFolder.claim(path, exact=True).release()
    assert len(paused) == 1
    for end in (read_end, write_end, pauses, says_pause):
        os.close(end)


def test_a_file_system_without_locks(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    patch.setattr("fcntl.lockf", refuse)
    with pytest.raises(ConfigError, match="cannot lock"):
        RunFolder.claim(tmp_path / "new" / "run", exact=True)
    assert everything(tmp_path) == []


def test_claiming_again_goes_on_with_the_run(tmp_path: Path) -> None:
    first = RunFolder.claim(Path("a/b/run"), exact=True)
    assert first.record == {}
    first.update(status="done", step=7)
    first.release()
    second = RunFolder.claim(Path("a/./b/x/../run"), exact=True)
    assert second.path == Path("a/b/run")
    assert second.record == {"status": "done", "step": 7}
    second.release()


def test_an_empty_folder_or_one_claimed_and_killed_is_new(tmp_path: Path) -> None:
    for name, files in {"empty": [], "early": ["lock", ".tmp-config.yaml.9237", ".tmp-run.json.9237"]}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
        run = RunFolder.claim(tmp_path / name, exact=True)
        assert run.record == {}
        run.release()


def test_losing_the_race_for_a_new_folder_leaves_it_to_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process locks the folder between our making it and our locking it."""
    from genlab.runs import run_folder as module

    class Taken:
        def __init__(self, path: Path) -> None:
            path.touch()
            raise BusyError("in use", str(path), "wait")

    monkeypatch.setattr(module, "Lock", Taken)
    with pytest.raises(BusyError):
        RunFolder.claim(tmp_path / "run", exact=True)
    assert (tmp_path / "run" / "lock").exists()

"""Run folders: one owner at a time, distinct names, records that survive a kill, refusals that leave nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab import locking, runs
from genlab.errors import BusyError, CheckpointError, ConfigError, GenlabError, ResourceError
from genlab.runs import RunFolder, differences, find, scan
from tests.durable.durable_tools import hooked, in_child


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


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# ---------------------------------------------------------------- claiming


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
                time.sleep(30)
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


def test_a_look_does_not_make_a_start_fail(tmp_path: Path) -> None:
    """`genlab runs` asks whether the lock is held, and holds a shared one while it asks."""
    path, (read_end, write_end) = tmp_path / "run", os.pipe()
    RunFolder.claim(path, exact=True).release()
    pid = os.fork()
    if pid == 0:
        try:
            with open(path / "lock", "rb") as file:
                fcntl.lockf(file, fcntl.LOCK_SH)
                os.write(write_end, b"x")
                time.sleep(0.05)
        finally:
            os._exit(0)
    os.read(read_end, 1)
    RunFolder.claim(path, exact=True).release()
    os.waitpid(pid, 0)
    os.close(read_end)
    os.close(write_end)


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


# ---------------------------------------------------------------- refusing

BAD_PATHS = {
    "climbs out": "../x",
    "climbs out later": "a/../../x",
    "NUL": "a\0b",
    "newline": "a\nb",
    "escape sequence": "a\x1b[2Jb",
    "text direction": "a\u202eb",
    "zero width": "a\u200bb",
    "undecodable": "a\udcffb",
    "empty": "",
    "long name": "x" * 201,
    "long name below": "a/" + "ü" * 101 + "/b",
    "an option": "-rf",
    "an option below": "a/--help/b",
    "a file": "file",
    "below a file": "file/run",
    "not empty": "full",
    "the working folder": ".",
    "a loop of links": "loop/run",
}


@pytest.mark.parametrize("case", BAD_PATHS)
@pytest.mark.parametrize("exact", [True, False])
def test_bad_paths(case: str, exact: bool, tmp_path: Path) -> None:
    if not exact and case in ("not empty", "a file", "the working folder"):
        pytest.skip("gets a suffix: another folder")
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = everything(tmp_path.parent)
    with pytest.raises(ConfigError) as caught:
        RunFolder.claim(Path(BAD_PATHS[case]) if BAD_PATHS[case] else "", exact)  # type: ignore[arg-type]
    assert caught.value.code == 2
    assert str(caught.value).isprintable()
    assert everything(tmp_path.parent) == before


def test_an_absolute_path_may_be_anywhere(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    os.chdir(tmp_path / "work")
    RunFolder.claim(tmp_path / "else" / "where", exact=True).release()
    assert (tmp_path / "else" / "where" / "lock").exists()


REFUSALS = [(errno.EROFS, ConfigError), (errno.EPERM, ConfigError), (errno.EACCES, ConfigError)]
REFUSALS += [(errno.ENOSPC, ResourceError), (errno.EDQUOT, ResourceError)]


@pytest.mark.parametrize(("code", "expected"), REFUSALS)
@pytest.mark.parametrize("exact", [True, False])
def test_a_disk_that_refuses(code: int, expected: type[GenlabError], exact: bool, patch: pytest.MonkeyPatch) -> None:
    """At each operation in turn: the first mkdir, the second, the lock file."""
    here = Path.cwd()
    for point in range(4):
        count = [point]

        def fail(when: str, operation: str, count: list[int] = count) -> None:
            if operation in ("mkdir", "open"):
                count[0] -= 1
                if count[0] == -1:
                    raise OSError(code, os.strerror(code))

        with pytest.MonkeyPatch.context() as context:
            hooked(context, fail)
            if point == 3:  # two folders and the lock: there is no fourth operation
                RunFolder.claim(Path("outputs/run"), exact).release()
                continue
            with pytest.raises(expected, match=os.strerror(code)):
                RunFolder.claim(Path("outputs/run"), exact)
        assert everything(here) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ConfigError, match="Permission denied"):
        RunFolder.claim(Path("outputs/run"), exact=False)


def test_a_linked_lock_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "lock").symlink_to(precious)
    with pytest.raises(ConfigError):
        RunFolder.claim(tmp_path / "run", exact=True)
    assert precious.read_text() == "keep me"


# ---------------------------------------------------------------- the record


def test_the_record_is_plain_json(tmp_path: Path) -> None:
    run = RunFolder.claim(tmp_path / "run", exact=True)
    metrics = {"a": np.float32(0.5), "b": torch.tensor(2), "c": math.nan, "d": -math.inf}
    run.update(status="running", metrics=metrics, name="é\udcff", more=(1, Path("x")))
    run.update(status="done", code=0)
    run.release()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["metrics"] == {"a": 0.5, "b": 2, "c": None, "d": None}
    assert record["more"] == [1, "x"]
    assert (record["status"], record["code"], record["name"]) == ("done", 0, "é\udcff")
    assert runs.read_record(tmp_path / "run").items() >= record.items()


def test_the_record_is_replaced_not_rewritten(tmp_path: Path) -> None:
    """Who has the file open while it is updated reads the whole old record."""
    run = RunFolder.claim(tmp_path / "run", exact=True)
    run.update(step=1)
    with open(tmp_path / "run" / "run.json", "rb") as reader:
        run.update(step=2)
        assert json.load(reader) == {"step": 1}
    run.release()


def test_a_kill_inside_an_update_leaves_the_old_record_or_the_new(place: Path) -> None:
    path = place / "run"

    def update_and_die(point: int) -> None:
        left = [point]

        def hook(when: str, operation: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        run = RunFolder.open(path)
        with pytest.MonkeyPatch.context() as context:
            hooked(context, hook)
            run.update(step=point + 1, text="x" * 100)

    run = RunFolder.claim(path, exact=True)
    run.update(step=0, status="stopped")
    run.release()
    seen, point, status = set(), 0, -1
    while status != 0:
        status = in_child(lambda point=point: update_and_die(point))
        seen.add(runs.read_record(path)["step"])
        point += 1
    assert point > 4
    assert 0 in seen
    assert point in seen


def test_a_full_disk_keeps_the_old_record(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    run = RunFolder.claim(tmp_path / "run", exact=True)
    run.update(step=1, status="running")

    def full(when: str, operation: str) -> None:
        if when == "half":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as context:
        hooked(context, full)
        with pytest.raises(ResourceError, match=r"run.json could not be written .* needed, .* free"):
            run.update(step=2)
    assert runs.read_record(tmp_path / "run")["step"] == 1
    assert everything(tmp_path / "run") == ["lock", "run.json"]
    run.release()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', "\xff", '{"status": NaN}', " " * 5 * 2**20])
def test_a_damaged_record(text: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text, encoding="latin1")
    for read in (lambda: RunFolder.open(tmp_path / "run"), lambda: RunFolder.claim(tmp_path / "run", exact=True)):
        with pytest.raises(CheckpointError, match=r"run\.json"):
            read()
    assert [record["status"] for record in scan(tmp_path)] == ["damaged"]
    assert not locking.is_held(tmp_path / "run" / "lock")


# ---------------------------------------------------------------- finding and comparing


def _made(path: Path, **fields: Any) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(fields))
    return path


def test_scan_and_find(tmp_path: Path) -> None:
    root = Path("outputs")
    first = _made(root / "vae-mnist" / "b", status="done", started=999999999.5)
    last = _made(root / "vae-mnist" / "a", status="running", started=1000000000.0)
    deep = _made(root / "sweeps" / "s" / "vae" / "1", status="failed", started=5)
    _made(first / "inside", status="done")  # below a run: no run of its own
    _made(root / ".hidden" / "run", status="done")
    _made(tmp_path / "elsewhere" / "run", status="done")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    found = scan(root)
    assert [(record["path"], record["status"]) for record in found] == [
        (str(deep), "failed"), (str(first), "done"), (str(last), "killed"),
    ]  # fmt: skip
    assert find("last") == last
    assert find("vae-mnist/b") == first
    assert find("outputs/vae-mnist/b") == first
    assert find(str(tmp_path / "elsewhere" / "run")) == tmp_path / "elsewhere" / "run"
    assert find("run", root=tmp_path / "elsewhere") == tmp_path / "elsewhere" / "run"
    with pytest.raises(ConfigError, match=r"no such folder; did you mean 'vae-mnist/b'\?"):
        find("vae-minst/b")
    with pytest.raises(ConfigError, match=r"has no run.json"):
        find("outputs/vae-mnist")
    for name in ("a\0b", "", "x" * 5000, "file://x"):
        with pytest.raises(ConfigError):
            find(name)


def test_find_without_runs(tmp_path: Path) -> None:
    assert scan(Path("outputs")) == []
    for name in ("last", "nothing"):
        with pytest.raises(ConfigError, match="genlab train"):
            find(name)
    with pytest.raises(ConfigError):
        RunFolder.open(tmp_path)
    assert everything(tmp_path) == []


CASES: list[tuple[Callable[[], Any], Callable[[], Any], list[str]]] = [
    (lambda: {"a": {"b": 1}}, lambda: {"a": {"b": 1.0}}, []),
    (lambda: {"a": (1, 2)}, lambda: {"a": [1, 2]}, []),
    (lambda: {"a": True}, lambda: {"a": 1}, ["a"]),
    (lambda: {"a": [True]}, lambda: {"a": [1]}, ["a"]),
    (lambda: {"a": None}, dict, ["a"]),
    (lambda: {"a": {}}, lambda: {"a": {"b": 1}}, ["a", "a.b"]),
    (lambda: {"a": {"b": 1, "c": 2}, "d": "x"}, lambda: {"d": "y", "a": {"c": 2, "b": 3}}, ["a.b", "d"]),
    (lambda: {"x": {"y": {"z": 1}}}, lambda: {"x": {"y": {"z": "1"}}}, ["x.y.z"]),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_differences(old: Callable[[], Any], new: Callable[[], Any], expected: list[str]) -> None:
    assert differences(old(), new()) == expected
    assert differences(new(), old()) == expected
    assert differences(old(), old()) == []


def test_the_module_loads_no_torch() -> None:
    code = "import sys, genlab.runs, genlab.provenance; print({'torch', 'numpy', 'hydra'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            cwd=Path(__file__).parents[2])  # fmt: skip
    assert answer.stdout.strip() == "set()"


DAMAGED = {
    "nothing": {},
    "no status": {"step": 3},
    "data is a list": {"status": "done", "data": []},
    "shape is text": {"status": "done", "data": {"name": "x", "shape": "abc", "num_classes": 1, "fingerprint": "f"}},
    "two sides": {"status": "done", "data": {"name": "x", "shape": [1, 8], "num_classes": 1, "fingerprint": "f"}},
    "threads": {"status": "done", "threads": -5},
    "seconds": {"status": "done", "seconds": "x"},
    "started": {"status": "done", "started": 10**400},
    "best": {"status": "done", "best": {"metric": "loss", "value": 10**400, "step": 1}},
    "metrics": {"status": "done", "metrics": [1]},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_record_that_does_not_hold(damage: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(DAMAGED[damage]))
    with pytest.raises(CheckpointError, match=r"run\.json"):
        runs.read_record(tmp_path)
    assert [record["status"] for record in runs.scan(tmp_path)] == ["damaged"]


def test_losing_the_race_for_a_new_folder_leaves_it_to_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process locks the folder between our making it and our locking it."""
    from genlab import runs as module

    class Taken:
        def __init__(self, path: Path) -> None:
            path.touch()
            raise BusyError("in use", str(path), "wait")

    monkeypatch.setattr(module, "Lock", Taken)
    with pytest.raises(BusyError):
        RunFolder.claim(tmp_path / "run", exact=True)
    assert (tmp_path / "run" / "lock").exists()

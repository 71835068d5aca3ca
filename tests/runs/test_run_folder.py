"""Run folders: refusals that leave nothing, finding runs, what changed since a run began."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab.errors import CheckpointError, ConfigError, GenlabError, ResourceError
from genlab.runs.run_folder import RunFolder, differences, find, scan
from tests.support.durable import everything, hooked

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
    with pytest.raises(CheckpointError, match="'lock' is a link"):
        RunFolder.claim(tmp_path / "run", exact=True)
    assert precious.read_text() == "keep me"


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
    code = (
        "import sys, genlab.runs.run_folder, genlab.runs.provenance; "
        "print({'torch', 'numpy', 'hydra'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            cwd=Path(__file__).parents[2])  # fmt: skip
    assert answer.stdout.strip() == "set()"

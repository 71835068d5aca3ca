"""config.yaml keeps a configuration exactly and cannot be used to harm; where a run came from is written down."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.config.yaml_file import dump_config, parse_config
from genlab.errors import CheckpointError
from genlab.runs.provenance import config_hash, git_state, process_info, versions
from genlab.runs.run_folder import RunFolder, read_config
from tests.support.durable import in_child

SHARED = [1, 2]
CONFIG: dict[str, Any] = {
    "seed": 1,
    "optimizer": {"lr": 1e-05, "betas": [0.5, 0.999], "phases": {}},
    "model": {"name": "vae", "beta": None, "free": SHARED, "also": SHARED},
    "strings": [
        "1e-3",
        "no",
        "null",
        "2ep",
        "5%",
        "",
        " x ",
        "a: b",
        "été",
        "line\nline",
        "2026-11-20",
        "~",
        "0x10",
        "'",
    ],
    "dry_run": False,
}


def test_round_trip(tmp_path: Path) -> None:
    run = RunFolder.claim(tmp_path / "run", exact=True)
    run.write_config(CONFIG)
    assert read_config(tmp_path / "run") == CONFIG
    assert [*read_config(tmp_path / "run")] == [*CONFIG]
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert yaml.safe_load(text) == CONFIG  # what any other tool reads
    assert "&" not in text
    run.release()


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), plain, max_size=4))
def test_any_configuration_round_trips(config: dict[str, Any]) -> None:
    assert parse_config(dump_config(config)) == config


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(b)}: &{chr(b)} [{', '.join(['*' + chr(b - 1)] * 9)}]\n" for b in range(98, 108)
)

HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "a list": b"- 1",
    "a string": b"hello",
    "binary": bytes(range(256)),
    "half a file": b"model: {name: vae, beta",
    "tabs": b"a:\n\t- b",
    "bomb": BOMB.encode(),
    "one alias": b"a: &x 1\nb: *x",
    "recursive": b"&a {b: *a}",
    "deep flow": b"[" * 100_000,
    "deep flow, closed": b"a: " + b"[" * 60 + b"]" * 60,
    "deep mappings": b"{a: " * 100_000,
    "deep block": b"".join(b" " * i + b"a:\n" for i in range(600)),
    "many values": b"a: [" + b"1," * 60_000 + b"1]",
    "too long": b"a: " + b"x" * 300_000,
    "50 MB": b"a: " + b"x" * 50_000_000,
    "duplicate keys": b"seed: 1\nseed: 2",
    "duplicate keys below": b"model: {name: vae, name: gan}",
    "two documents": b"a: 1\n---\nb: 2",
    "python object": b"a: !!python/object/apply:os.system ['touch canary']",
    "python name": b"a: !!python/name:os.system",
    "python module": b"a: !!python/module:canary",
    "own tag": b"a: !run 1",
    "a mapping as key": b"? {a: 1}\n: 2",
    "a number as key": b"a: {1: x, b: y}",
    "a date": b"a: 2026-11-30",
    "a set": b"a: !!set {x, y}",
    "bytes": b"a: !!binary aGVsbG8=",
    "impossible date": b"a: 2026-99-99",
    "huge integer": b"a: " + b"9" * 5000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(case: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(HOSTILE[case])
    began = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        read_config(tmp_path)
    assert time.process_time() - began < 100  # the bomb would take years
    assert "config.yaml" in str(caught.value)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "canary").exists()


def test_missing_or_linked(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_config(tmp_path)
    (tmp_path / "real.yaml").write_text("a: 1")
    (tmp_path / "config.yaml").symlink_to("real.yaml")
    with pytest.raises(CheckpointError):
        read_config(tmp_path)


# ---------------------------------------------------------------- provenance


def _git(*words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *words], capture_output=True, text=True, check=True).stdout.strip()


def test_git_state(tmp_path: Path) -> None:
    assert git_state() is None
    _git("init", "-q")
    assert git_state() is None  # no commit yet
    Path("code.py").write_text("1")
    _git("add", "code.py")
    _git("commit", "-qm", "one")
    commit = _git("rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": False}
    Path("untracked").touch()
    assert git_state() == {"commit": commit, "dirty": False}
    Path("code.py").write_text("2")
    assert git_state() == {"commit": commit, "dirty": True}
    Path("below").mkdir()
    assert git_state(Path("below")) == {"commit": commit, "dirty": True}


def test_git_state_runs_nothing_of_the_checkout(tmp_path: Path) -> None:
    _git("init", "-q")
    Path("code.py").write_text("1")
    _git("add", "code.py")
    _git("commit", "-qm", "one")
    _git("config", "core.fsmonitor", "touch canary; false")
    assert git_state() is not None
    assert not Path("canary").exists()


def test_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state() is None


def test_versions_and_process() -> None:
    import torch

    found = versions()
    assert found["torch"] == torch.__version__.split("+")[0]
    assert found["python"].startswith("3.")

    def check() -> None:
        assert process_info()["pid"] != parent

    parent = process_info()["pid"]
    assert in_child(check) == 0


def test_config_hash() -> None:
    assert config_hash({"a": 1, "b": {"c": 2}}) == config_hash({"b": {"c": 2}, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})
    assert len(config_hash({})) == 16

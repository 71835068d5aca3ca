from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from genlab.errors import ConfigError
from genlab.runs.selection import select


def a_run(path: str, started: float = 1) -> None:
    Path(path).mkdir(parents=True)
    Path(path, "run.json").write_text(json.dumps({"status": "done", "started": started}))


def chosen(*names: str) -> Sequence[str]:
    return [record["path"] for record in select(names, "genlab compare")]


def test_a_name_is_a_run_a_sweep_or_a_pattern() -> None:
    for number, path in enumerate(("outputs/vae/a", "outputs/vae/b", "outputs/sweeps/x/0", "outputs/sweeps/x/1", "c")):
        a_run(path, number)
    assert chosen("c", "vae/b") == ["c", "outputs/vae/b"]
    assert chosen("outputs/sweeps/x", "last") == ["outputs/sweeps/x/0", "outputs/sweeps/x/1"]
    assert chosen("vae/*") == chosen("outputs/va[e]/?") == ["outputs/vae/a", "outputs/vae/b"]
    assert chosen("vae", "vae/b", str(Path("outputs/vae/a").absolute())) == ["outputs/vae/a", "outputs/vae/b"]


def test_signs_of_patterns_may_be_part_of_a_name() -> None:
    a_run("outputs/[a]")
    a_run("outputs/a")
    assert chosen("[a]") == ["outputs/[a]"]


@pytest.mark.parametrize("name", ["nowhere", "no*", "empty", "", "x\0", "~nosuchuser", "l" * 300])
def test_a_name_without_a_run_is_refused(name: str) -> None:
    a_run("outputs/vae/a")
    Path("empty").mkdir()
    with pytest.raises(ConfigError):
        chosen("outputs", name)

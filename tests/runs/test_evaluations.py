"""The files of `genlab eval`: a name for each protocol, and a list in run.json that no hostile file can spoil."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab.errors import ConfigError
from genlab.runs import evaluations
from genlab.runs.evaluations import FILE_LIMIT, LISTED_LIMIT, file_stem, newest, read_all, refuse_taken, variant

IDENTITY = {"evaluator": "fid", "options": {"images": 500}, "split": "test", "seed": 0, "step": 7, "weights": "raw"}


def put(run: Path, file: str, metrics: dict[str, Any] | None = None, **protocol: Any) -> None:
    (run / "eval").mkdir(exist_ok=True)
    result = {"metrics": metrics or {"fid": 1.5}, "protocol": {**IDENTITY, **protocol}}
    (run / "eval" / file).write_text(json.dumps(result))


def test_options_that_differ_have_names_that_differ() -> None:
    many: list[dict[str, Any]] = [
        {}, {"images": 500}, {"images": 50}, {"images": 500, "k": 3}, {"extractor": "pixels"}, {"x": None}, {"x": True},
        {"sampling": {"truncation": 0.7}}, {"sampling": {"truncation": 0.5}}, {"amounts": [0.1, 0.2]},
        {"amounts": [0.1, -0.2]}, {"word": "a/b"}, {"word": "a-b"}, {"word": "ä"}, {"word": "z" * 900},
        {"word": "z" * 901},
    ]  # fmt: skip
    names = [file_stem("fid", "test", variant(options), 3) for options in many]
    assert len(set(names)) == len(many)
    assert names[0] == "fid-test-00000003"
    assert names[3] == "fid-test-images500-k3-00000003"
    assert all(name.isascii() and "/" not in name and len(name) < 200 for name in names)


def test_of_too_many_images_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "MOST_FILES", 2)
    (tmp_path / "eval").mkdir()
    for file in ("a-00000001-x.png", "b-00000002-x.png", "c-00000003-x.png"):
        (tmp_path / "eval" / file).touch()
    assert [title for title, _, _ in evaluations.images(tmp_path)] == ["x of c", "x of b"]


def test_a_name_from_a_strange_configuration_stays_in_its_folder() -> None:
    assert file_stem("../../x", None, "", 0) == "..-..-x-00000000"
    assert len(file_stem("y" * 999, "test", variant({f"key{i}": "z" * 50 for i in range(20)}), 10**12)) < 230


def test_the_newest_result_is_that_of_the_highest_step(tmp_path: Path) -> None:
    assert newest(tmp_path, "fid-test") is None
    for file in ("fid-test-00000009.json", "fid-test-100000000.json", "fid-test-k3-900000000.json", "fid-test.json"):
        put(tmp_path, file)
    assert newest(tmp_path, "fid-test") == tmp_path / "eval" / "fid-test-100000000.json"


@pytest.mark.parametrize("other", [{"options": {}}, {"seed": 1}, {"evaluator": "kid"}, {"weights": "ema"}])
def test_a_name_is_not_taken_from_another_protocol(tmp_path: Path, other: dict[str, Any]) -> None:
    put(tmp_path, "mine-test-00000007.json", more="found while measuring")
    refuse_taken(tmp_path, "mine-test-00000007.json", IDENTITY)
    refuse_taken(tmp_path, "mine-test-00000008.json", IDENTITY | other)
    with pytest.raises(ConfigError, match=f"taken by a result of other {next(iter(other))}; .*; choose another name"):
        refuse_taken(tmp_path, "mine-test-00000007.json", IDENTITY | other)


def test_results_are_listed_from_the_newest_step_on(tmp_path: Path) -> None:
    for step in (30, 200, 7):
        put(tmp_path, f"fid-test-{step:08d}.json", step=step)
    put(tmp_path, "kid-test-00000200.json", step=200)
    found = read_all(tmp_path)
    assert [each["file"] for each in found] == [
        f"{name}.json" for name in ("fid-test-00000200", "kid-test-00000200", "fid-test-00000030", "fid-test-00000007")
    ]
    assert found[0]["metrics"] == {"fid": 1.5}
    assert {key: found[0]["protocol"][key] for key in IDENTITY} == {**IDENTITY, "step": 200}


HOSTILE: dict[str, Callable[[Path], object]] = {
    "not JSON": lambda path: path.write_text("{"),
    "a list": lambda path: path.write_text("[]"),
    "nothing": lambda path: path.write_text(""),
    "deep": lambda path: path.write_text('{"metrics": {}, "protocol": ' + "[" * 900 + "]" * 900 + "}"),
    "long": lambda path: path.write_text(" " * FILE_LIMIT + "{}"),
    "text for a number": lambda path: put(path.parent.parent, path.name, {"fid": "\x1b[2J"}),
    "no seed": lambda path: path.write_text('{"metrics": {}, "protocol": {"evaluator": "fid", "step": 1}}'),
    "a negative step": lambda path: put(path.parent.parent, path.name, step=-1),
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.with_name("fid-test-00000001.json")),
    "a folder": os.mkdir,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_left_out(kind: str, tmp_path: Path) -> None:
    put(tmp_path, "fid-test-00000001.json", step=1)
    HOSTILE[kind](tmp_path / "eval" / "fid-test-00000002.json")
    assert [each["file"] for each in read_all(tmp_path)] == ["fid-test-00000001.json"]
    refuse_taken(tmp_path, "fid-test-00000002.json", IDENTITY)  # what cannot be read is replaced


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    put(tmp_path, "fid-test-00000001.json")
    (tmp_path / "run" / "eval").symlink_to("../eval")
    assert read_all(tmp_path / "run") == []


def test_the_list_fits_into_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(40):
        put(tmp_path, f"fid-test-{step:08d}.json", step=step, notes="x" * (FILE_LIMIT - 2000))
    found = read_all(tmp_path)
    assert 0 < len(json.dumps(found)) <= LISTED_LIMIT
    assert found[0]["protocol"]["step"] == 39
    monkeypatch.setattr(evaluations, "MOST_FILES", 3)
    assert len(read_all(tmp_path)) == 3

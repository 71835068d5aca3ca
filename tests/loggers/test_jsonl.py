from __future__ import annotations

import errno
import json
import math
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from genlab.errors import CheckpointError, ResourceError
from genlab.loggers.jsonl import JsonLines


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder: Path, steps: range) -> None:
    logger = JsonLines(folder)
    for step in steps:
        logger.scalars(step, "train", {"loss": step / 3})
    logger.close()


def test_records_are_flat_in_order_and_exact(tmp_path: Path) -> None:
    logger, before = JsonLines(tmp_path), time.time()
    logger.scalars(7, "valid", {"loss": 1 / 3, "kl": 2.0})
    (record,) = records(tmp_path)  # there before any flush
    assert list(record) == ["step", "time", "split", "loss", "kl"]
    assert record["step"] == 7
    assert record["split"] == "valid"
    assert record["loss"] == 1 / 3  # every bit of a double
    assert round(before, 3) <= record["time"] <= round(time.time(), 3)
    assert round(record["time"], 3) == record["time"]
    logger.close()


def test_not_finite_is_null_and_still_json(tmp_path: Path) -> None:
    logger = JsonLines(tmp_path)
    logger.scalars(1, "train", {"a": math.nan, "b": math.inf, "c": 1.0})
    logger.close()
    line = (tmp_path / "metrics.jsonl").read_text()
    record = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert (record["a"], record["b"], record["c"]) == (None, None, 1.0)


@pytest.mark.parametrize("torn", ["", '{"step": 9, "lo', '{"step": 4}extra\n', "[1, 2]\n", "\0\0\0\0", '"text"\n'])
def test_resume_keeps_only_whole_lines_up_to_the_step(tmp_path: Path, torn: str) -> None:
    write(tmp_path, range(1, 9))
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole) + torn)
    logger = JsonLines(tmp_path, resumed_at=5)
    assert path.read_text() == "".join(whole[:5])  # byte for byte
    logger.scalars(6, "train", {"loss": 0.0})
    logger.close()
    assert [record["step"] for record in records(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_resume_at_a_torn_last_line_loses_only_that_line(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    JsonLines(tmp_path, resumed_at=3).close()
    assert [record["step"] for record in records(tmp_path)] == [1, 2]


def test_starting_over_empties_the_file(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    JsonLines(tmp_path).close()
    assert records(tmp_path) == []


def test_resume_without_a_file_starts_one(tmp_path: Path) -> None:
    JsonLines(tmp_path, resumed_at=5).close()
    assert records(tmp_path) == []


def test_disk_full_ends_the_run_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = JsonLines(tmp_path)

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(os, "write", full)
        with pytest.raises(ResourceError, match=r"No space left.*metrics\.jsonl") as caught:
            logger.scalars(1, "train", {"loss": 1.0})
    assert caught.value.code == 5
    assert "\n" not in str(caught.value)


def test_a_disk_that_takes_half_a_line_gets_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger, write = JsonLines(tmp_path), os.write
    with monkeypatch.context() as context:
        context.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        logger.scalars(1, "train", {"loss": 1.0})
    assert [record["loss"] for record in records(tmp_path)] == [1.0]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_gone_is_noticed_before_a_checkpoint(tmp_path: Path, replaced: bool) -> None:
    logger = JsonLines(tmp_path)
    logger.scalars(1, "train", {"loss": 1.0})
    (tmp_path / "metrics.jsonl").rename(tmp_path / "mine")
    if replaced:
        (tmp_path / "metrics.jsonl").touch()
    for use in (logger.flush, logger.close):
        with pytest.raises(ResourceError, match=r"'metrics\.jsonl' was removed or replaced"):
            use()


def test_a_deeply_nested_line_is_dropped_on_resume(tmp_path: Path) -> None:
    write(tmp_path, range(1, 3))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("[" * 100_000 + "\n")
        file.write('{"step": 2, "time": 0, "split": "train", "loss": ' + "[" * 200 + "]" * 200 + "}\n")
    JsonLines(tmp_path, resumed_at=5).close()
    assert [record["step"] for record in records(tmp_path)] == [1, 2]


def test_what_is_there_of_the_resumed_step_is_not_repeated(tmp_path: Path) -> None:
    logger = JsonLines(tmp_path)
    for split, values in (("train", {"loss": 1.0}), ("valid", {"loss": 2.0, "kl": 3.0})):
        logger.scalars(5, split, values)
    logger.close()
    before = (tmp_path / "metrics.jsonl").read_text()
    again = JsonLines(tmp_path, resumed_at=5)
    again.scalars(5, "valid", {"kl": 3.0, "loss": 2.0})
    assert (tmp_path / "metrics.jsonl").read_text() == before
    again.scalars(5, "valid", {"fid": 3.0})
    again.scalars(6, "valid", {"loss": 2.0, "kl": 3.0})
    again.close()
    assert [record["step"] for record in records(tmp_path)] == [5, 5, 5, 6]


def test_a_long_file_is_read_a_line_at_a_time(tmp_path: Path) -> None:
    write(tmp_path, range(1, 3))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        for byte in (b"\0", b"[", b" "):
            for _ in range(16):
                file.write(byte * 2**20)
        file.write(b"\n")
    tracemalloc.start()
    JsonLines(tmp_path, resumed_at=5).close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert [record["step"] for record in records(tmp_path)] == [1, 2]


def test_a_link_is_neither_read_nor_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"'metrics\.jsonl' is a link"):
        JsonLines(tmp_path)
    assert not (tmp_path / "nowhere").exists()

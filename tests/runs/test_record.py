"""A run's record: plain JSON, replaced whole, and refused where it does not hold."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.errors import CheckpointError, ResourceError
from genlab.runs import lock, run_folder
from genlab.runs.run_folder import RunFolder, scan
from tests.support.durable import everything, hooked, in_child


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
    assert run_folder.read_record(tmp_path / "run").items() >= record.items()


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
        seen.add(run_folder.read_record(path)["step"])
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
    assert run_folder.read_record(tmp_path / "run")["step"] == 1
    assert everything(tmp_path / "run") == ["lock", "run.json"]
    run.release()


DEEP = f'{{"status": "done", "more": {"[" * 600}{"]" * 600}}}'


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1, "a": 2}', "\xff", '{"status": NaN}', " " * 5 * 2**20, DEEP], ids=range(8)
)
def test_a_damaged_record(text: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text, encoding="latin1")
    for read in (lambda: RunFolder.open(tmp_path / "run"), lambda: RunFolder.claim(tmp_path / "run", exact=True)):
        with pytest.raises(CheckpointError, match=r"run\.json"):
            read()
    assert [record["status"] for record in scan(tmp_path)] == ["damaged"]
    assert not lock.is_held(tmp_path / "run" / "lock")


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
        run_folder.read_record(tmp_path)
    assert [record["status"] for record in run_folder.scan(tmp_path)] == ["damaged"]

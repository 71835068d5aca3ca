"""What a run promises of its files while a thread writes them: order, whole snapshots, errors with their codes."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import genlab
from genlab.checkpoint import saving, snapshot
from genlab.checkpoint.async_writer import Worker
from genlab.checkpoint.manager import Checkpoints
from genlab.checkpoint.saving import Saver
from genlab.errors import DivergedError, GenlabError, ResourceError
from genlab.loggers.jsonl import JsonLines
from genlab.utils.signals import StopRequest
from tests.support.processes import PATIENCE

RUN = ["model=vae", "model.network.hidden=[8]", "trainer.batch_size=8", "trainer.log_every=1", "logger=jsonl",
       "evaluator=objective"]  # fmt: skip


class Folder:
    """What of a run folder a saver needs."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {"seconds": 5.0, "time": {"training": 4.0}}

    def update(self, **fields: Any) -> None:
        self.record.update(fields)


@pytest.fixture
def saver(tmp_path: Path) -> Saver:
    return Saver(Checkpoints(tmp_path / "ckpt"), Folder(), Worker(), {"config_hash": "x"})  # type: ignore[arg-type]


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def save(saver: Saver, step: int, net: nn.Module) -> None:
    saver.save(step, {"model": net}, {"metrics": {}, "best": None, "diagnoses": [], "protocols": {}}, {"training": 1.0})


def no_writer() -> bool:
    return "genlab-writer" not in [thread.name for thread in threading.enumerate()]


def test_a_snapshot_is_of_its_moment_and_the_next_waits_for_it(
    saver: Saver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, write, memory = threading.Event(), snapshot.write, []

    def slow(folder: Path, step: int, tensors: Any, state: Any) -> None:
        memory.append(tensors["model/weight"].data_ptr())
        assert gate.wait(PATIENCE)
        write(folder, step, tensors, state)

    monkeypatch.setattr("genlab.checkpoint.manager.write", slow)
    net = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        net.weight.fill_(1)
        save(saver, 1, net)
        net.weight.fill_(2)  # training goes on
    second = threading.Thread(target=save, args=(saver, 2, net), daemon=True)
    second.start()
    second.join(0.1)
    assert second.is_alive()  # no third copy of the weights: training waits
    gate.set()
    second.join(10)
    saver._worker.close()
    found = [snapshot.read(tmp_path / "ckpt" / snapshot.folder_name(step)) for step in (1, 2)]
    assert [float(loaded.tensors["model/weight"].mean()) for loaded in found] == [1, 2]
    assert memory[0] == memory[1]  # used again


def test_time_goes_on_from_what_the_record_says(saver: Saver) -> None:
    save(saver, 1, nn.Linear(2, 2))
    saver._worker.close()
    record = saver._folder.record
    assert record["time"]["training"] == 5
    assert record["time"]["writing"] >= 0
    assert record["seconds"] >= 5


def test_a_snapshot_that_is_not_finite_is_not_written(saver: Saver, tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    save(saver, 1, net)
    net.weight.data[0, 0] = float("nan")
    save(saver, 2, net)
    with pytest.raises(DivergedError, match="'model/weight' is not finite at step 2"):
        saver._worker.close()
    assert Checkpoints(tmp_path / "ckpt").steps() == [1]


def test_metrics_reach_the_disk_before_their_checkpoint_and_the_record_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, commit, seen = tmp_path / "run", Checkpoints.save, []

    def watched(self: Checkpoints, step: int, *arguments: Any) -> Path:
        logged = [line["step"] for line in lines(run) if line["split"] == "train"]
        assert logged == list(range(1, max(logged) + 1))
        seen.append((step, max(logged) >= step, record(run).get("step", 0) < step))
        return commit(self, step, *arguments)

    monkeypatch.setattr(saving.manager.Checkpoints, "save", watched)
    genlab.train([*RUN, "trainer.steps=9", "checkpoint.every=2", f"hydra.run.dir={run}"])
    assert seen == [(step, True, True) for step in (2, 4, 6, 8, 9)]
    assert no_writer()
    ended = record(run)
    assert (ended["status"], ended["step"]) == ("done", 9)
    assert set(ended["time"]) == {"training", "validation", "logging", "checkpoints", "writing"}


def test_a_full_disk_ends_the_run_at_once_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("genlab.checkpoint.manager.write", full)
    with pytest.raises(ResourceError, match="No space left"):
        genlab.train([*RUN, "trainer.steps=100000", "checkpoint.every=5", f"hydra.run.dir={run}"])
    assert no_writer()
    assert (record(run)["status"], record(run)["code"]) == ("failed", 5)
    assert max(line["step"] for line in lines(run)) == 5  # nothing is written after the failure
    assert not list((run / "ckpt").iterdir())


@pytest.mark.parametrize("stops", [False, True])
def test_a_full_disk_at_the_very_end_is_no_success(
    stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it a stop with its state saved."""
    run = tmp_path / "run"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("genlab.checkpoint.manager.write", full)
    if stops:
        monkeypatch.setattr(StopRequest, "arm", lambda self: setattr(self, "signum", 15))
    with pytest.raises(ResourceError, match="No space left"):
        genlab.train([*RUN, "trainer.steps=7", "checkpoint.every=100", f"hydra.run.dir={run}"])
    assert (record(run)["status"], record(run)["code"]) == ("failed", 5)
    assert no_writer()


def test_metrics_that_cannot_be_written_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, write = tmp_path / "run", JsonLines.scalars

    def limited(self: JsonLines, step: int, split: str, values: Any) -> None:
        if step == 10:
            raise ResourceError("cannot write the metrics")
        write(self, step, split, values)

    monkeypatch.setattr(JsonLines, "scalars", limited)
    with pytest.raises(ResourceError, match="cannot write the metrics"):
        genlab.train([*RUN, "trainer.steps=100000", "checkpoint.every=10", f"hydra.run.dir={run}"])
    assert record(run)["code"] == 5
    assert max(line["step"] for line in lines(run)) == 9
    assert not (run / "ckpt").exists()  # no checkpoint whose metrics are missing


def test_what_was_logged_before_training_failed_is_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(GenlabError) as caught:
        genlab.train([*RUN, "trainer.steps=1000", "optimizer.lr=1e25", f"hydra.run.dir={run}"])
    assert caught.value.code == 6
    steps = [line["step"] for line in lines(run)]
    assert steps == list(range(1, len(steps) + 1))
    assert f"at step {len(steps)}" in record(run)["error"]
    assert no_writer()

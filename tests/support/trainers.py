"""Small trainers on the built-in digits, for the tests of the loop and the promises of every YAML."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.checkpoint import manager
from genlab.config import compose
from genlab.core.values import Logger
from genlab.distributed.runtime import Runtime
from genlab.engine.trainer import Trainer
from genlab.errors import Stopped
from genlab.loggers.jsonl import JsonLines
from genlab.workflows.build import build_data, build_model, build_trainer, load_registry
from tests.support.models import shrunk
from tests.support.tiny_runs import CLOCK, FAMILIES, data_for, draw_pairs

TINY = ["dataset=digits", "evaluator=none", "trainer.batch_size=16", "trainer.steps=12", "trainer.log_every=1"]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures that are two beside each other, 8 pixels high."""
    return draw_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture
def make_trainer(pairs: Path) -> MakeTrainer:
    """`make_trainer("vae", "trainer.ema_decay=0.9", ...)`: a trainer that logs to nobody.

    A name that is not one of FAMILIES is a file of configs/model, with every width made small.
    """
    load_registry()

    def make(family: str, *overrides: str, runtime: Runtime | None = None) -> Trainer:
        words = FAMILIES.get(family, [f"model={family}"])
        if family not in FAMILIES:
            words += data_for(family, pairs)
        settings: dict[str, Any] = compose.compose([*TINY, *words, *overrides]).config
        if family not in FAMILIES:
            settings["model"] = shrunk(settings["model"])
        compose.check(settings)
        runtime = runtime or Runtime(torch.device("cpu"), settings["trainer"]["precision"].replace("auto", "fp32"))
        data = build_data(settings, runtime)
        return build_trainer(settings, data, build_model(settings, data, runtime), runtime)

    return make


class Recorder(Logger):
    """Keeps what was logged, wall-clock figures left out."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str, dict[str, float]]] = []

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        self.records.append((step, split, {k: v for k, v in values.items() if k != "images_per_second"}))


def snapshot(trainer: Trainer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, structure = manager.pack(trainer.objects())
    return {k: v.clone() for k, v in tensors.items()}, {**trainer.state(), "structure": structure}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def fit(trainer: Trainer, stop_at: int | None = None) -> tuple[Recorder, dict[int, Any]]:
    recorder, saved = Recorder(), {}

    def save(step: int, objects: Mapping[str, Any], state: dict[str, Any]) -> None:
        saved[step] = snapshot(trainer)

    expected = pytest.raises(Stopped) if stop_at else contextlib.nullcontext()
    with expected as stopped:
        trainer.fit(recorder, save, lambda: 15 if trainer.step == stop_at else 0)
    if stop_at:
        assert (stopped.value.code, trainer.step) == (143, stop_at)
    return recorder, saved


def trained(
    make: Callable[[], Trainer], folder: Path, stops: Sequence[int] = ()
) -> tuple[manager.Loaded, list[dict[str, Any]]]:
    """The last checkpoint and the records of metrics.jsonl of a run that a signal stops at each of `stops`.

    Each part of the run has a trainer of its own, which knows only what is on the disk. Figures of the clock are left
    out.
    """
    for stop_at in stops:
        with pytest.raises(Stopped):
            train_in(folder, make(), stop_at)
    train_in(folder, make())
    ended = manager.Checkpoints(folder / "ckpt").newest()
    assert ended is not None
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for values in (*records, ended.state["metrics"]):
        for name in CLOCK:
            values.pop(name, None)
    return ended, records


def train_in(folder: Path, trainer: Trainer, stop_at: int | None = None) -> None:
    """Train from the newest checkpoint in `folder` to the end, or until a signal arrives at step `stop_at`."""
    folder.mkdir(exist_ok=True)
    checkpoints = manager.Checkpoints(folder / "ckpt")
    found = checkpoints.newest()
    if found:
        trainer.restore(found.tensors, found.state)
    logger = JsonLines(folder, found.step if found else None)

    def save(step: int, objects: Mapping[str, Any], state: dict[str, Any]) -> None:
        tensors, structure = manager.pack(objects)
        checkpoints.save(step, tensors, {**state, "structure": structure})

    try:
        trainer.fit(logger, save, lambda: 15 * (trainer.step == stop_at))
    finally:
        logger.close()

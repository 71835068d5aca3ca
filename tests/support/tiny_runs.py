"""Runs of a second on data that need no download, and what must be equal in two runs that did the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genlab.checkpoint.codec import encode
from genlab.checkpoint.manager import Checkpoints
from genlab.config import compose
from genlab.registry import MODELS
from tests.support.models import OTHERS, shrunk, spec_of
from tests.support.processes import fork

CLOCK = ("time", "images_per_second")
COMMON = ["dataset=digits", "trainer.batch_size=32", "trainer.steps=40", "trainer.log_every=2", "checkpoint.every=2",
          "evaluator.objective.every=5", "trainer.ema_decay=0.9", "logger.console=null", "schedule=cosine"]  # fmt: skip
FAMILIES = {
    "vae": ["model=vae", "model.network.hidden=[32]", "model.latent_dim=4"],
    "autoencoder": ["model=autoencoder", "model.network.hidden=[32]", "model.latent_dim=4"],
    "dcgan": [
        "model=dcgan",
        "model.generator.base_channels=8",
        "model.discriminator.base_channels=8",
        "model.latent_dim=8",
    ],
}
DOMAINS = ["dataset=unpaired", "dataset.base={name: digits}", "dataset.classes=[0,1]", "dataset.size=null"]


def train(overrides: list[str], before: Callable[[], object] | None = None) -> int:
    """Start a run in a child of this process, `before` called in it first; returns its process id."""
    return fork(["train", *overrides], before)


def draw_pairs(folder: Path) -> Path:
    """Fill a folder with images that are two beside each other, 8 pixels high."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(draw.integers(0, 256, (8, 16), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return folder


def data_for(preset: str, pairs: Path) -> list[str]:
    """The overrides that choose small data for the model YAML `preset`; `pairs` is a folder of `draw_pairs`."""
    target: Any = MODELS.get(spec_of(preset)["name"])
    if preset in OTHERS:
        return [f"dataset={preset}"]
    if target.partners:
        return ["dataset=paired", f"dataset.root={pairs}", "dataset.size=8", "dataset.channels=1"]
    return DOMAINS if {"a", "b"} <= set(target.inputs) else ["dataset=digits"]


def tiny(preset: str, pairs: Path) -> list[str]:
    """The overrides of a run with the model YAML `preset`, every width small."""
    words = [f"model={preset}", *data_for(preset, pairs)]
    full = compose.compose(words).config["model"]
    return words + (_changes("model", full, shrunk(full)) if preset not in OTHERS else [])


def _changes(key: str, old: Any, new: Any) -> list[str]:
    """The overrides that turn `old` into `new`."""
    if isinstance(old, dict):
        return [word for name in old for word in _changes(f"{key}.{name}", old[name], new[name])]
    return [] if old == new else [f"{key}={json.dumps(new)}"]


def fingerprint(run: Path) -> dict[str, Any]:
    """What must be equal in two runs that did the same, as JSON: all but clocks and speed.

    SHA-256 of each tensor of the last checkpoint (weights, buffers, average, optimizer), its state, the records of
    metrics.jsonl, and the figures of run.json. AssertionError if the run is not done or left something half made.
    """
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "done", record["status"]
    found = Checkpoints(run / "ckpt").newest()
    assert found is not None
    left = [path.name for path in run.rglob(".*")]
    assert not left, f"leftovers of interrupted writing: {left[:3]}"
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = [(r["step"], r["split"], *sorted(r)) for r in records]  # each evaluator has a line of its own
    assert len(keys) == len(set(keys)), "a metric line stands twice"
    whole = {
        "tensors": {name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
                    for name, tensor in found.tensors.items()},
        "state": encode(dict(found.state)),
        "metrics.jsonl": records,
        "run.json": {key: record[key] for key in ("step", "steps", "metrics", "best", "diagnoses")},
    }  # fmt: skip
    return dict(_without_clock(json.loads(json.dumps(whole))))


def _without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clock(item) for key, item in value.items() if key.rpartition("/")[2] not in CLOCK}
    return [_without_clock(item) for item in value] if isinstance(value, list) else value


def difference(a: Any, b: Any, where: str = "") -> str | None:
    """The first place at which two fingerprints differ; None if they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        pairs = [(f"{where}.{key}", a.get(key, "nothing"), b.get(key, "nothing")) for key in {**a, **b}]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(a, b, strict=True))]
    else:
        return None if a == b else f"{where.lstrip('.')}: {str(a)[:80]} and {str(b)[:80]}"
    return next((found for name, x, y in pairs if (found := difference(x, y, name))), None)

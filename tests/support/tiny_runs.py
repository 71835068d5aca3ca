"""Runs of a second on the built-in digits, and what must be equal in two runs that did the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

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


def train(overrides: list[str]) -> int:
    """Start a run in a child of this process; returns its process id."""
    return fork(["train", *overrides])


def fingerprint(run: Path) -> dict[str, str]:
    """SHA-256 of the last checkpoint's tensors, and of the metrics without the clock; the record must say `done`."""
    from genlab.checkpoint.manager import Checkpoints

    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "done", record["status"]
    found = Checkpoints(run / "ckpt").newest()
    assert found is not None
    assert not list((run / "ckpt").glob(".*")), "leftovers of interrupted saves"
    tensors = hashlib.sha256()
    for name in sorted(found.tensors):
        tensors.update(name.encode() + found.tensors[name].contiguous().numpy().tobytes())
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = [(r["step"], r["split"], *sorted(r)) for r in records]  # each evaluator has a line of its own
    assert len(keys) == len(set(keys)), "a metric line stands twice"
    kept = [{k: v for k, v in r.items() if k not in CLOCK} for r in records]
    return {"tensors": tensors.hexdigest(), "metrics": hashlib.sha256(json.dumps(kept).encode()).hexdigest()}

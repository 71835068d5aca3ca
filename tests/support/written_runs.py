"""Finished runs that nobody trained: folders with a record, a configuration, curves, images and results."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genlab.config.yaml_file import dump_config

STEP = 100
DATA = {"name": "digits", "shape": [1, 8, 8], "num_classes": 10, "fingerprint": "f00d"}


def write_run(
    path: str | Path,
    seed: int = 0,
    metrics: Mapping[str, float | None] | None = None,
    status: str = "done",
    config: Mapping[str, Any] | None = None,
    **record: Any,
) -> Path:
    """A run of 100 steps with these last metrics; `config` changes the keys of its configuration, `model` replaced."""
    folder = Path(path)
    folder.mkdir(parents=True)
    settings = {"name": "vae", "seed": seed, "model": {"name": "vae", "latent_dim": 2, "beta": 1.0},
                "dataset": {"name": "digits"}, "evaluator": {}, **(config or {})}  # fmt: skip
    found = {
        "status": status, "started": 1000 + seed, "step": STEP, "steps": STEP, "seed": seed, "metrics": metrics or {},
        "data": DATA, "model": {"name": settings["name"], "family": "vae"}, "protocols": {"objective": {}}, **record,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(found))
    (folder / "config.yaml").write_bytes(dump_config(settings))
    return folder


def write_result(run: Path, metrics: Mapping[str, float | None], file: str = "", **protocol: Any) -> None:
    """A result of `genlab eval`, of `fid` on the test split unless `protocol` says otherwise."""
    usual = {
        "evaluator": "fid",
        "options": {},
        "split": "test",
        "seed": 0,
        "step": STEP,
        "weights": "raw",
        "images": 500,
    }
    whole = {**usual, **protocol}
    name = file or f"{whole['evaluator']}-{whole['split']}-seed{whole['seed']}-{whole['step']:08d}.json"
    (run / "eval").mkdir(exist_ok=True)
    (run / "eval" / name).write_text(json.dumps({"metrics": metrics, "protocol": whole}))


def write_curve(run: Path, name: str, values: Sequence[float], split: str = "valid") -> None:
    """A line of metrics.jsonl for each value, at the steps 10, 20, ..."""
    with (run / "metrics.jsonl").open("a") as file:
        for number, value in enumerate(values):
            file.write(json.dumps({"step": 10 * (number + 1), "time": 0.0, "split": split, name: value}) + "\n")


def write_image(run: Path, name: str, step: int, shade: int) -> None:
    """A gray image of 4x4 pixels, as the logger of images names it."""
    (run / "images").mkdir(exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), shade, np.uint8)).save(buffer, "PNG")
    (run / "images" / f"{name}-{step:08d}.png").write_bytes(buffer.getvalue())

"""Cost of the default logging, images and checkpoints of `genlab train experiment=vae_mnist`, relative to its steps.

    python benchmarks/overhead.py [ROUNDS] [OVERRIDE ...]      # GENLAB_DATA names the folder with MNIST

Each round starts the real command four times, one thread each, in turn: `start` makes one step; `bare` trains without
loggers, evaluators and checkpoints (except one at the end); `logged` is the default without the validation objective,
which is not logging; `default` is the default. Results are medians over rounds of ratios formed within a round:

- paired: (CPU seconds of `logged` - `bare`) / (`bare` - `start`): all threads, including writing the report.
- laps: wall time of the training thread for logging, images and checkpoints, divided by that for steps, from run.json
  of `default`.
- writing: processor time of the writer thread, divided by `bare` - `start`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = [*(f"logger.{name}=null" for name in ("jsonl", "tensorboard", "images", "console")), "evaluator=none",
        "checkpoint.every=1000000"]  # fmt: skip
VARIANTS = {
    "start": [*BARE, "trainer.steps=1"],
    "bare": BARE,
    "logged": ["evaluator.objective=null"],
    "default": [],
}
BESIDE = ("logging", "images", "checkpoints")


def measure(overrides: list[str], folder: Path) -> dict[str, float]:
    """Train in `folder`: CPU and wall seconds of the whole process, and the times in run.json in seconds."""
    command = [sys.executable, "-m", "genlab", "train", "experiment=vae_mnist", "trainer.threads=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before, began = os.times(), time.perf_counter()
    subprocess.run(
        [*command, *overrides, f"hydra.run.dir={folder}"], stdout=subprocess.DEVNULL, check=True, env=environment
    )
    after, wall = os.times(), time.perf_counter() - began
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"cpu": cpu, "wall": wall, **json.loads((folder / "run.json").read_text())["time"]}


def compare(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """The ratios of one round."""
    default = found["default"]
    ratios = {"laps": sum(default.get(name, 0) for name in BESIDE) / default["training"]}
    ratios["writing"] = default["writing"] / (found["bare"]["cpu"] - found["start"]["cpu"])
    for clock in ("cpu", "wall"):
        steps = found["bare"][clock] - found["start"][clock]
        ratios[f"paired {clock}"] = (found["logged"][clock] - found["bare"][clock]) / steps
        ratios[f"paired {clock}, with validation"] = (default[clock] - found["bare"][clock]) / steps
    return ratios


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            found = {
                name: measure([*overrides, *sys.argv[2:]], Path(folder) / f"{number}-{name}")
                for name, overrides in VARIANTS.items()
            }
            print(json.dumps(found), flush=True)
            for name, ratio in compare(found).items():
                ratios.setdefault(name, []).append(ratio)
    for name, values in ratios.items():
        print(f"{name:<28} {statistics.median(values):7.2%}   from {min(values):.2%} to {max(values):.2%}")


if __name__ == "__main__":
    main()

"""What the default logging, pictures and checkpoints of `genlab train experiment=vae_mnist` cost, of its step time.

    python benchmarks/overhead.py [ROUNDS] [OVERRIDE ...]      # GENLAB_DATA names the folder with MNIST

Each round starts the real command four times, one thread each, in turn: `start` makes one step; `bare` trains without
loggers, evaluators and checkpoints (one, at the end); `logged` is the default without the validation objective, which
is asked for and not logging; `default` is the default. Medians over rounds of ratios formed in a round:

- paired: (CPU seconds of `logged` - `bare`) / (`bare` - `start`): every thread, the report's writing, everything.
- laps: what the training thread itself spends on logging, pictures and checkpoints, of what it spends on steps, as
  run.json of `default` says; wall clock over wall clock.
- writing: the processor time of the thread beside training, of `bare` - `start`.
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
    """Train in `folder`: CPU and wall seconds of the whole process, and run.json's laps in seconds."""
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
    """One round's ratios."""
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

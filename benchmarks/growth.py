"""How cost grows with the batch size, the image side and the number of images. One JSON file, one plot each.

    python -m benchmarks.growth                       all three; plots to docs/images/, JSON to benchmarks/results/
    python -m benchmarks.growth batch --rounds 5

Every point is a new `genlab bench` process on one thread. Each round runs all points in turn; a point is the median of
its rounds.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import plots, synthetic
from benchmarks.run import RESULTS, ROOT, environment, hardware, row
from genlab.utils.paths import cache_folder

BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048)
SIDES = (32, 64, 128)  # 28 pixels would need a different network
COUNTS = (1_000, 10_000, 200_000)
IMAGES_A_POINT = 20_000  # for the curve over the batch size: the same number of images at every point
BARE = ("evaluator=none", "checkpoint.every=1000000")  # periodic work would weigh differently at each point
Points = dict[int, list[dict[str, Any]]]  # x -> one row per round


def commands(kind: str) -> dict[int, tuple[list[str], dict[str, str]]]:
    """Arguments of `genlab bench` and environment variables for each point."""
    if kind == "batch":
        steps = {n: max(5, IMAGES_A_POINT // n) for n in BATCHES}
        return {n: (["vae_mlp_mnist", f"batch={n}", f"steps={steps[n]}", "warmup=3", *BARE], {}) for n in BATCHES}
    if kind == "side":
        few = ["batch=16", "steps=3", "warmup=1", *BARE]
        return {n: (["dcgan64", f"dataset.size={n}", *few], {}) for n in SIDES}
    few = ["dataset.valid=0.1", "steps=50", *BARE]
    return {n: (["vae_mlp_mnist", *few], {"GENLAB_DATA": str(_mnist(n))}) for n in COUNTS}


def _mnist(n: int) -> Path:
    """A synthetic MNIST with n training images."""
    folder = cache_folder() / "bench" / f"mnist-{n}"
    if not (folder / synthetic.SIGNS["mnist"][0]).exists():
        synthetic.mnist(folder, n, 100)
    return folder


def measure(kind: str, rounds: int) -> Points:
    """All points, `rounds` times in turn. An uncounted first start builds the data store."""
    workloads = {"batch": ["vae_mlp_mnist"], "side": ["dcgan64"], "count": []}[kind]
    base = environment(synthetic.data_root(workloads)[0], threads=1)
    planned = commands(kind)
    found: Points = {x: [] for x in planned}
    sets = {(words[0], *(word for word in words if word.startswith("dataset.")), *variables.items()): (words, variables)
            for words, variables in planned.values()}  # fmt: skip
    for words, variables in sets.values():
        overrides = [word for word in words if word.startswith("dataset.")]
        prepare = [sys.executable, "-m", "genlab", "prepare", f"workload={words[0]}", *overrides]
        subprocess.run(prepare, env={**base, **variables}, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    for number in range(1, rounds + 1):
        for x, (words, variables) in planned.items():
            command = [sys.executable, "-m", "genlab", "bench", *words, "threads=1"]
            said = row(f"{kind} {x}", command, {**base, **variables})
            if said is None:
                raise SystemExit(1)
            found[x].append(said)
            speed = f"{said['images_per_cpu_s']:,.1f} images per CPU second"
            start = f"first step {said['first_step_s']} s, {said['peak_rss'] / 1e6:,.0f} MB"
            print(f"{kind} {x}, round {number}: {speed}, {start}", file=sys.stderr, flush=True)
    return found


def curves(kind: str, points: Points) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The curves of each plot, by file name."""

    def line(key: str, per: float = 1.0, power: int = 1) -> list[tuple[float, float]]:
        medians = {x: statistics.median(row[key] for row in rows) for x, rows in points.items()}
        return [(x, medians[x] ** power / per) for x in points]

    if kind == "batch":
        return {"growth-batch": {"images per CPU second": line("images_per_cpu_s")}}
    if kind == "side":
        return {"growth-side": {"CPU seconds per image": line("images_per_cpu_s", power=-1)}}
    return {"growth-count": {"seconds to the first step": line("first_step_s"), "peak RSS, GB": line("peak_rss", 1e9)}}


LABELS = {"batch": "batch size, VAE 784-400-20", "side": "pixels a side, DCGAN, batch 16", "count": "images in the set"}


def main() -> None:
    parse = argparse.ArgumentParser(description="How cost grows.")
    parse.add_argument("kinds", nargs="*", default=[], metavar="KIND", help=f"of {', '.join(LABELS)}; none: all")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--plots", type=Path, default=ROOT / "docs" / "images")
    parse.add_argument("--out", type=Path, default=RESULTS)
    given = parse.parse_args()
    unknown = sorted(set(given.kinds) - set(LABELS))
    if unknown:
        parse.error(f"unknown kind {unknown[0]}; choose from {', '.join(LABELS)}")
    found: dict[str, Points] = {}
    for kind in given.kinds or list(LABELS):
        found[kind] = measure(kind, given.rounds)
        for name, lines in curves(kind, found[kind]).items():
            (given.plots / f"{name}.svg").write_text(plots.log_log(lines, LABELS[kind]))
    given.out.mkdir(parents=True, exist_ok=True)
    name = f"growth-{hardware('cpu')}-{datetime.date.today()}.json"
    (given.out / name).write_text(json.dumps(found, indent=1) + "\n")
    print(given.out / name)


if __name__ == "__main__":
    main()

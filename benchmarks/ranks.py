"""Cost of sharing a batch among processes: N gloo ranks on the CPU compared with one, one thread each.

    python benchmarks/ranks.py [--ranks 2] [--rounds 5] [--json FILE]

The global batch is the same. Rounds are interleaved, with new processes in each; results are medians over rounds of
ratios formed within a round. CPU time counts the work of all ranks, so it is valid on a busy machine. CPU time beyond
that of one rank is overhead: collectives, layers whose cost does not shrink with the batch, and the optimizer, which
every rank runs. With enough free cores, the ideal wall time is that of one rank divided by the number of ranks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.distributed.launcher import environment, free_port


@dataclass(frozen=True)
class Workload:
    """A model on random images of one size."""

    overrides: list[str]
    shape: tuple[int, int, int]
    batch: int
    steps: int


WORKLOADS = {
    "vae_mlp_28": Workload(["model=vae"], (1, 28, 28), 128, 150),
    "dcgan_32": Workload(["model=dcgan"], (3, 32, 32), 64, 8),
}


def work(name: str) -> dict[str, float]:
    """Seconds per step of this rank, CPU and wall, after two steps of warm-up."""
    import torch

    from genlab.config import compose
    from genlab.data.loader import Data, Table
    from genlab.distributed.runtime import start, stop
    from genlab.workflows.build import build_model, build_trainer, load_registry

    workload = WORKLOADS[name]
    load_registry()
    sizes = [f"trainer.batch_size={workload.batch}", "trainer.steps=100000", "evaluator=none"]
    settings = compose.compose([*workload.overrides, *sizes]).config
    runtime = start("cpu", "fp32", deterministic=False, threads=1)
    pixels = torch.randint(0, 256, (1024, *workload.shape), dtype=torch.uint8)
    table = Table("random", {"image": pixels}, runtime.device, resident=True)
    data = Data(table, {"train": torch.arange(1024)}, None, "", seed=0, flip=False)
    trainer = build_trainer(settings, data, build_model(settings, data, runtime), runtime)
    for _ in range(2):
        trainer.train_step()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(workload.steps):
        trainer.train_step()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    stop()
    return {"cpu": cpu / workload.steps, "wall": wall / workload.steps}


def measure(name: str, ranks: int) -> dict[str, float]:
    """Seconds per step: CPU over all ranks, and wall time of the slowest."""
    command = [sys.executable, __file__, "--work", name]
    with free_port() as port:
        started = [
            subprocess.Popen(
                command, env={**environment(rank, ranks, port), "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE
            )
            for rank in range(ranks)
        ]
        said = [json.loads(process.communicate()[0]) for process in started]
    return {"cpu": sum(each["cpu"] for each in said), "wall": max(each["wall"] for each in said)}


def compare(name: str, ranks: int, rounds: int) -> dict[str, Any]:
    pairs = [(measure(name, 1), measure(name, ranks)) for _ in range(rounds)]

    def median(values: Any) -> float:
        return round(statistics.median(values), 3)

    return {
        "workload": name,
        "batch": WORKLOADS[name].batch,
        "ranks": ranks,
        "rounds": rounds,
        "cores": os.cpu_count(),
        "cpu_ms_one": median(1e3 * one["cpu"] for one, _ in pairs),
        "cpu_ms_all_ranks": median(1e3 * many["cpu"] for _, many in pairs),
        "cpu_overhead_ms_per_rank": median(1e3 * (many["cpu"] - one["cpu"]) / ranks for one, many in pairs),
        "cpu_ratio": median(many["cpu"] / one["cpu"] for one, many in pairs),
        "wall_ms_one": median(1e3 * one["wall"] for one, _ in pairs),
        "wall_ms_ranks": median(1e3 * many["wall"] for _, many in pairs),
        "speed_up": median(one["wall"] / many["wall"] for one, many in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--work", choices=WORKLOADS, help=argparse.SUPPRESS)  # used by the child processes
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work)))
        return
    found = [compare(name, options.ranks, options.rounds) for name in WORKLOADS]
    columns = list(found[0])
    print("\n".join([f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
                    + [f"| {' | '.join(str(row[column]) for column in columns)} |" for row in found]))  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

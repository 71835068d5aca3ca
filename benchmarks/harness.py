"""Shared by the floor loops and the drivers of other projects: their options, images and JSON line.

The other projects' loops are not edited: optimizer steps are counted through torch's global hook. When enough steps are
timed, the process prints its line and ends, without the project's teardown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.workloads import WORKLOADS
from genlab.workflows.stopwatch import Stopwatch


def options(about: str, workloads: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("workload", choices=workloads)
    parser.add_argument("--images", type=Path, help="a .npy of uint8 images (N, C, H, W); else genlab's are exported")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=100, help="steps that are timed")
    parser.add_argument("--warmup", type=int, default=10, help="steps before them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    return parser


def given(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, with the workload's default batch size; sets torch's threads."""
    import torch

    chosen = parser.parse_args()
    chosen.batch = chosen.batch or WORKLOADS[chosen.workload].batch
    torch.set_num_threads(chosen.threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    return chosen


def images(chosen: argparse.Namespace) -> Any:
    """The training images as a uint8 array (N, C, H, W)."""
    import numpy as np

    if chosen.images is None:
        from benchmarks.images import export

        chosen.images = export(chosen.workload)
    return np.load(chosen.images)


def report(peer: str, chosen: argparse.Namespace, params: int, watch: Stopwatch, **facts: Any) -> None:
    """Print the JSON line with the keys of `genlab bench`."""
    row = {"peer": peer, "workload": chosen.workload, "params": params, **watch.figures(chosen.batch)}
    print("\n" + json.dumps({**row, "precision": "fp32", "compile": False, "layout": "nchw", **facts}), flush=True)


def count_steps(peer: str, chosen: argparse.Namespace, optimizers: int = 1, **facts: Any) -> None:
    """From now on, every `optimizers` optimizer steps count as one training step; the process ends by itself."""
    from torch.optim import Optimizer
    from torch.optim.optimizer import register_optimizer_step_post_hook

    watch, parameters, calls = Stopwatch(chosen.warmup, chosen.steps), dict[int, int](), 0

    def stepped(optimizer: Optimizer, arguments: object, keywords: object) -> None:
        nonlocal calls
        calls += 1
        if calls <= optimizers:
            parameters.update({id(p): p.numel() for group in optimizer.param_groups for p in group["params"]})
        if calls % optimizers == 0 and watch(calls // optimizers):
            report(peer, chosen, sum(parameters.values()), watch, **facts)
            sys.stdout.flush()
            os._exit(0)

    register_optimizer_step_post_hook(stepped)

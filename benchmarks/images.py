"""A workload's training images as genlab sees them, written once for the programs that are compared with it.

python -m benchmarks.images WORKLOAD       prints the file: uint8 (N, C, H, W), .npy
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks import LIMIT
from benchmarks.workloads import WORKLOADS
from genlab.config import compose
from genlab.distributed.runtime import Runtime, choose_device
from genlab.utils.paths import cache_folder
from genlab.workflows.build import build_data, load_registry

CHUNK = 1024  # images gathered at a time


def export(workload: str, limit: int = LIMIT) -> Path:
    """The .npy file in genlab's cache, created from the data set if needed; DataError if the data are missing."""
    load_registry()
    config = compose.check(compose.compose([f"workload={workload}", f"dataset.limit={limit}"]).config)
    data = build_data(config, Runtime(choose_device("cpu")))
    target = cache_folder() / "bench" / f"{workload}-{data.fingerprint[:16]}.npy"
    if not target.exists():
        train = data.split("train")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part.npy")
        columns = WORKLOADS[workload].columns
        channels, *sides = data.shape
        shape = len(train.indices), channels * len(columns), *sides
        written = np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
        for start in range(0, len(written), CHUNK):
            pixels = torch.cat(train.table.read(train.indices[start : start + CHUNK], columns), 1)
            written[start : start + CHUNK] = (255 * pixels).round().to(torch.uint8).numpy()
        written.flush()
        partial.replace(target)
    return target


if __name__ == "__main__":
    print(export(sys.argv[1]))

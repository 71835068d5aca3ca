"""A workload's training images as genlab sees them, written once for those that are timed beside it.

python -m benchmarks.images WORKLOAD       prints the file: uint8 (N, C, H, W), .npy
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from genlab import config
from genlab.build import build_data, load_registry
from genlab.paths import cache_folder
from genlab.runtime import Runtime, choose_device


def export(workload: str) -> Path:
    """The .npy file in genlab's cache, made from the data set if need be; DataError if that is not there."""
    load_registry()
    settings = config.compose([f"workload={workload}"]).config
    config.check(settings)
    data = build_data(settings, Runtime(choose_device("cpu")))
    target = cache_folder() / "bench" / f"{workload}-{data.fingerprint[:16]}.npy"
    if not target.exists():
        train = data.split("train")
        (pixels,) = train.table.gather(train.rows, None, ["image"])
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part.npy")
        np.save(partial, pixels.cpu().numpy())
        partial.replace(target)
    return target


if __name__ == "__main__":
    print(export(sys.argv[1]))

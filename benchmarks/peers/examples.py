"""The scripts of github.com/pytorch/examples (vae/main.py, dcgan/main.py), run unedited as __main__.

    python -m benchmarks.peers.examples vae_mlp_mnist --examples CHECKOUT --data FOLDER

FOLDER is laid out like GENLAB_DATA. The scripts decode and scale each image at every epoch.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import harness


def main() -> None:
    parser = harness.options("pytorch/examples, unedited.", ["vae_mlp_mnist", "dcgan64", "dcgan64_lsun"])
    parser.add_argument("--examples", type=Path, required=True, help="a checkout of pytorch/examples")
    parser.add_argument("--data", type=Path, required=True, help="a folder laid out like GENLAB_DATA")
    chosen = harness.given(parser)
    examples, data = chosen.examples.resolve(), chosen.data.resolve()
    work = Path(tempfile.mkdtemp(prefix="bench-examples-"))
    if chosen.workload == "vae_mlp_mnist":
        script, optimizers = examples / "vae" / "main.py", 1
        (work / "vae" / "results").mkdir(parents=True)
        # torchvision unpacks what is gzipped, beside it: on a copy
        shutil.copytree(data / "MNIST" / "raw", work / "data" / "MNIST" / "raw")
        words = ["--batch-size", chosen.batch, "--epochs", 1_000_000]
        words += ["--no-accel"] if chosen.device == "cpu" else []
        os.chdir(work / "vae")
    else:
        script, optimizers = examples / "dcgan" / "main.py", 2
        kind, folder = ("lsun", "lsun") if chosen.workload == "dcgan64_lsun" else ("folder", "celeba")
        words = ["--dataset", kind, "--dataroot", data / folder, "--batchSize", chosen.batch, "--workers", 0]
        words += ["--niter", 1_000_000, "--outf", work, *(["--accel"] if chosen.device != "cpu" else [])]
        os.chdir(work)
    source = {"vae_mlp_mnist": "torchvision MNIST", "dcgan64": "JPEG folder", "dcgan64_lsun": "LMDB"}[chosen.workload]
    sys.argv = [str(script), *map(str, words)]
    harness.count_steps("examples", chosen, optimizers, data_source=source)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()

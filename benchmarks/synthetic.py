"""Synthetic data sets in the formats and sizes of the real ones, always the same bytes, where real data are missing.

    python -m benchmarks.synthetic FOLDER [NAME ...]        then GENLAB_DATA=FOLDER

`mnist`: 60,000 + 10,000 blobs. `celeba`: JPEGs of 178x218 pixels and about 7 kB. `lsun`: an LMDB of JPEGs of 341x256
pixels and about 12 kB. Their pixels mean nothing; they take about as long to decode as real ones.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.workloads import WORKLOADS
from genlab.utils.paths import cache_folder

SIGNS = {  # the file that shows that a data set exists
    "mnist": ("MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-images-idx3-ubyte.gz"),
    "celeba": ("celeba/img_align_celeba",),
    "lsun": ("lsun/bedroom_train_lmdb/data.mdb",),
}


def data_root(workloads: list[str]) -> tuple[Path, str]:
    """The folder to use as GENLAB_DATA for these workloads, and "real" or "synthetic"; missing data are created."""
    names = sorted({WORKLOADS[workload].data for workload in workloads})
    given = os.environ.get("GENLAB_DATA")
    if given and all(_there(Path(given), name) for name in names):
        return Path(given).resolve(), "real"
    folder = cache_folder() / "bench" / "synthetic"
    make(folder, names)
    return folder, "synthetic"


def make(folder: Path, names: list[str]) -> None:
    for name in names:
        if not _there(folder, name):
            print(f"making synthetic {name} in {folder}", file=sys.stderr, flush=True)
            {"mnist": mnist, "celeba": celeba, "lsun": lsun}[name](folder)


def _there(folder: Path, name: str) -> bool:
    return any((folder / sign).exists() for sign in SIGNS[name])


def mnist(root: Path, train: int = 60_000, test: int = 10_000) -> None:
    """The four IDX files: gray blobs inside the central 20x20 pixels, random labels."""
    rng = np.random.default_rng(0)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    blots = np.zeros((2000, 28, 28), np.uint8)
    for blot in blots:
        rough = Image.fromarray(rng.normal(0, 1, (7, 7)).astype(np.float32))
        smooth = np.asarray(rough.resize((20, 20), Image.Resampling.BICUBIC))
        blot[4:24, 4:24] = np.where(smooth > 0.8, np.clip(smooth * 160, 0, 255), 0)
    for prefix, n in (("t10k", test), ("train", train)):  # train-images last: its presence means complete
        labels = rng.integers(0, 10, n).astype(np.uint8)
        pixels = blots[rng.integers(0, len(blots), n)]
        _write(raw / f"{prefix}-labels-idx1-ubyte", struct.pack(">2I", 2049, n) + labels.tobytes())
        _write(raw / f"{prefix}-images-idx3-ubyte", struct.pack(">4I", 2051, n, 28, 28) + pixels.tobytes())


def celeba(root: Path, n: int = 2000) -> None:
    """The folder of aligned images with its attributes and its partition: a tenth each for validation and test."""
    rng, home = np.random.default_rng(1), root / "celeba"
    partial = home / "img_align_celeba.part"
    partial.mkdir(parents=True, exist_ok=True)
    names = [f"{i + 1:06d}.jpg" for i in range(n)]
    for name in names:
        (partial / name).write_bytes(scene(rng, 178, 218, grain=2.0))
    labels = ["Male", *(f"attribute_{i}" for i in range(1, 40))]
    rows = [f"{name} {1 if i % 2 else -1}" + " 1" * 39 for i, name in enumerate(names)]
    attributes = [str(n), " ".join(labels), *rows]
    parts = [f"{name} {0 if 10 * i < 8 * n else 1 if 10 * i < 9 * n else 2}" for i, name in enumerate(names)]
    (home / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
    (home / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    partial.rename(home / "img_align_celeba")


def lsun(root: Path, train: int = 1000, val: int = 100) -> None:
    """The two LMDBs of one category; keys are random, as in the real ones."""
    import lmdb

    rng = np.random.default_rng(2)
    for part, n in (("val", val), ("train", train)):
        folder = root / "lsun" / f"bedroom_{part}_lmdb"
        partial = folder.with_suffix(".part")
        partial.mkdir(parents=True, exist_ok=True)
        with lmdb.open(str(partial), map_size=2**30) as environment, environment.begin(write=True) as transaction:
            for i in range(n):
                transaction.put(b"%040x" % (i * 2654435761 % 2**60), scene(rng, 341, 256, grain=3.2))
        partial.rename(folder)


def scene(rng: np.random.Generator, width: int, height: int, grain: float) -> bytes:
    """A JPEG of color noise at three scales and fine grain, which determines its size."""
    pixels = rng.normal(118, grain, (height, width, 1)).astype(np.float32).repeat(3, 2)
    for cells, strength in ((4, 70), (12, 35), (48, 14)):
        rough = rng.normal(0, strength, (3, cells, cells)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(rough[channel]).resize((width, height), Image.Resampling.BICUBIC)
            pixels[..., channel] += np.asarray(layer)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(path)


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:] or list(SIGNS))

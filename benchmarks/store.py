"""Building a store from an LMDB with JPEGs of LSUN's size, compared with bare decoding of the same images by Pillow.

    python benchmarks/store.py [--images 20000] [--rounds 5] [--size 64]

The images are generated: 341x256, smooth noise with grain, about 12 kB. Results are images per CPU second, medians over
rounds. "build" is a whole build by one worker: scanning the keys, reading, decoding, hashing, writing, syncing. The
time to build two images, which is the start of the child processes, is reported separately as "start". "bare" is a loop
in this process over bytes in memory: open, draft to twice the size, convert, resize. The three run in turn.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image

from genlab.data.datasets.lsun import LSUN
from genlab.utils import subprocesses

DISTINCT = 500  # different images; more would only take longer to create


def picture(rng: np.random.Generator) -> bytes:
    """A JPEG with the size of a photograph: color noise at three scales, and grain."""
    sum_of_scales = np.full((256, 341, 3), 118, np.float32)
    for cells, strength in ((4, 70), (12, 35), (48, 14)):
        for channel in range(3):
            coarse = Image.fromarray(rng.normal(0, strength, (cells, cells)).astype(np.float32))
            sum_of_scales[..., channel] += np.asarray(coarse.resize((341, 256), Image.Resampling.BICUBIC))
    sum_of_scales += rng.normal(0, 3.2, (256, 341, 1))
    out = io.BytesIO()
    Image.fromarray(np.clip(sum_of_scales, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=75)
    return out.getvalue()


def make(root: Path, pictures: Sequence[bytes], images: int) -> None:
    for part, count in (("train", images), ("val", 1)):
        folder = root / f"bedroom_{part}_lmdb"
        folder.mkdir()
        with lmdb.open(str(folder), map_size=2**40) as environment, environment.begin(write=True) as transaction:
            for i in range(count):
                key = f"{i * 2654435761 % 2**60:040x}".encode()  # scattered like hashes
                transaction.put(key, pictures[i % len(pictures)])


def bare(pictures: Sequence[bytes], size: int) -> float:
    began = time.process_time()
    for data in pictures:
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (2 * size, 2 * size))
        colors = image.convert("RGB")
        side = min(colors.size)
        left, top = (colors.width - side) // 2, (colors.height - side) // 2
        np.asarray(colors.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)))
    return len(pictures) / (time.process_time() - began)


def build(root: Path, cache: Path, size: int) -> float:
    """CPU seconds of this process and its children."""
    os.environ["GENLAB_CACHE"] = str(cache)
    began = cpu_seconds()
    LSUN(root=str(root), size=size).prepare()
    return cpu_seconds() - began


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("--images", type=int, default=20_000)
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--size", type=int, default=64)
    options = parse.parse_args()
    subprocesses.cores = lambda: 1
    rng = np.random.default_rng(0)
    pictures = [picture(rng) for _ in range(DISTINCT)]
    starts, builds, bares = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, images in (("many", options.images), ("two", 1)):
            (Path(folder) / name).mkdir()
            make(Path(folder) / name, pictures, images)
        bare(pictures, options.size)  # warms up
        for number in range(options.rounds):
            cache = Path(folder) / f"cache-{number}"
            bares.append(bare(pictures * 4, options.size))
            starts.append(build(Path(folder) / "two", cache, options.size))
            builds.append(build(Path(folder) / "many", cache, options.size))
            shutil.rmtree(cache)
    rates = [(options.images - 1) / (whole - start) for whole, start in zip(builds, starts, strict=True)]
    figures = {
        "images": options.images,
        "size": options.size,
        "jpeg_bytes": round(statistics.mean(map(len, pictures))),
        "rounds": options.rounds,
        "start_cpu_s": round(statistics.median(starts), 3),
        "build_images_per_cpu_s": round(statistics.median(rates)),
        "bare_images_per_cpu_s": round(statistics.median(bares)),
        "build_to_bare": round(statistics.median(r / b for r, b in zip(rates, bares, strict=True)), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

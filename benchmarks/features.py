"""Features and the Fréchet distance of `genlab eval evaluator=fid`, beside lean loops in the same process.

    python -m benchmarks.features [--images 32] [--rounds 5] [--size 64] [--threads 1]

"features" is what an evaluator computes, without the cache of features. Its floor is a bare loop: resize the images,
call the same network, in the fastest batches and memory layout. Inception has random weights, which cost as much as its
own; EfficientNet-Lite0 is left out where it is not installed. "frechet" is the distance of two Gaussians of 2,048
features; its floor is the formula as other projects compute it, by SciPy's square root of a matrix. All run in turn.
Results are CPU seconds and images per CPU second, medians over rounds; ratios are formed within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import scipy.linalg
import torch
from torch import Tensor

from genlab.evaluation.extraction import features
from genlab.evaluation.extractors import efficientnet, inception
from genlab.evaluation.metrics.frechet import frechet_distance, moments
from genlab.nn.pretrained.efficientnet_lite0 import WEIGHTS

BATCH, FLOOR_BATCH = 250, 16  # the evaluators' default, and the fastest of 4 to 64 on a CPU
DIMENSION = 2048
Work = Callable[[], Any]


def seconds(work: Work) -> float:
    """CPU seconds of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compared(own: Work, floor: Work, rounds: int) -> dict[str, float]:
    floor()  # warms up
    pairs = [(seconds(own), seconds(floor)) for _ in range(rounds)]
    return {
        "genlab_cpu_s": round(statistics.median(a for a, _ in pairs), 3),
        "floor_cpu_s": round(statistics.median(b for _, b in pairs), 3),
        "genlab_to_floor": round(statistics.median(b / a for a, b in pairs), 3),  # speeds
    }


@torch.no_grad()
def of_extractor(extractor: Any, enlarged: Callable[[Tensor], Tensor], images: Tensor, rounds: int) -> dict[str, Any]:
    """The features of `images`; `enlarged` resizes them for the extractor's network."""
    network = getattr(extractor.network, "features", extractor.network)

    def floor() -> list[Tensor]:
        return [network(enlarged(part)) for part in images.split(FLOOR_BATCH)]

    row = compared(lambda: features(extractor, images.split(BATCH)), floor, rounds)
    return {"workload": f"features {extractor.name}", "images": len(images), **row,
            "genlab_images_per_cpu_s": round(len(images) / row["genlab_cpu_s"], 1)}  # fmt: skip


def extractors() -> Iterator[tuple[Any, Callable[[Tensor], Tensor]]]:
    from safetensors.torch import save_file
    from torchvision.models import inception_v3

    with tempfile.TemporaryDirectory() as folder:
        weights = inception_v3(weights=None, num_classes=inception.CLASSES, aux_logits=False, init_weights=False)
        (Path(folder) / inception.FOLDER).mkdir()
        save_file(weights.state_dict(), Path(folder) / inception.FOLDER / inception.FILES[1])
        os.environ["GENLAB_DATA"] = folder
        yield inception.Inception(), inception.enlarged
    if WEIGHTS.available():
        yield efficientnet.EfficientNetFeatures(), efficientnet.enlarged


def frechet(rounds: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIMENSION, DIMENSION, generator=generator) * torch.logspace(0, -2, DIMENSION)
    clouds = (torch.randn(3 * DIMENSION, DIMENSION, generator=generator) @ mixing for _ in range(2))
    (mean, covariance), (other_mean, other) = (moments(cloud.relu()) for cloud in clouds)

    def floor() -> float:
        root = scipy.linalg.sqrtm(covariance.numpy() @ other.numpy()).real.trace()
        return float((mean - other_mean).square().sum() + covariance.trace() + other.trace() - 2 * root)

    row = compared(lambda: frechet_distance(mean, covariance, other_mean, other), floor, rounds)
    return {"workload": f"frechet {DIMENSION}", **row}


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("--images", type=int, default=32)
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--size", type=int, default=64)
    parse.add_argument("--threads", type=int, default=1)
    options = parse.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.rand(options.images, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    for extractor, enlarged in extractors():
        print(json.dumps(of_extractor(extractor, enlarged, images, options.rounds)), flush=True)
    print(json.dumps(frechet(options.rounds)), flush=True)


if __name__ == "__main__":
    main()

"""Samples beside the bare calls of the network that they need, in the same process.

    python -m benchmarks.sampling [--rounds 5]

"pixelcnn" draws images pixel by pixel, with what is known of earlier pixels kept; beside it, the naive sampler calls
the whole network once for each pixel, as the first implementations did: its seconds are those of a few such calls,
times the number of pixels. "flow_matching" draws 64 images of 32 pixels in 20 Euler steps, beside 20 calls of the bare
network. Networks are those of the workloads with random weights, which take as long. CPU seconds, one thread, in turn;
ratios are formed within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.features import seconds
from benchmarks.floors import likelihood
from benchmarks.floors.unet import UNet
from genlab.config import compose
from genlab.core.model import Model
from genlab.distributed.runtime import start
from genlab.registry import MODELS
from genlab.workflows.build import load_registry

CALLS = 5  # of the naive sampler's 784 that are timed


def model_of(workload: str, side: int) -> Model:
    config = compose.compose([f"workload={workload}"]).config
    model: Model = MODELS.build(config["model"], "model", image_shape=(1, side, side), num_classes=10)
    return model.eval()


def compared(name: str, own: Callable[[], Any], bare: Callable[[], Any], rounds: int, times: float = 1) -> None:
    """Print the seconds of `own`, those of `bare` times `times`, and how many times as fast `own` is."""
    own(), bare()
    pairs = [(seconds(own), times * seconds(bare)) for _ in range(rounds)]
    low, median, high = statistics.quantiles([b / a for a, b in pairs], n=4)
    row = {"sampler": name, "genlab_cpu_s": round(statistics.median(a for a, _ in pairs), 3),
           "bare_cpu_s": round(statistics.median(b for _, b in pairs), 3), "genlab_to_bare": round(median, 2),
           "quartiles": [round(low, 2), round(high, 2)]}  # fmt: skip
    print(json.dumps(row), flush=True)


@torch.no_grad()
def main() -> None:
    parse = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parse.add_argument("--rounds", type=int, default=5)
    rounds = parse.parse_args().rounds
    load_registry()
    start("cpu", "fp32", False, 1)
    flow, network = model_of("flow_matching32", 32), UNet().eval()
    x, t = torch.randn(64, 1, 32, 32), torch.rand(64)
    compared("flow_matching32, 64 images, 20 Euler steps", lambda: flow.sample(64, steps=20, solver="euler"),
             lambda: [network(x, t) for _ in range(20)], rounds)  # fmt: skip
    pixels, naive, image = model_of("pixelcnn_mnist", 28), likelihood.PixelCNN().eval(), torch.rand(16, 1, 28, 28)
    compared("pixelcnn_mnist, 16 images", lambda: pixels.sample(16),
             lambda: [naive(image) for _ in range(CALLS)], rounds, times=28 * 28 / CALLS)  # fmt: skip


if __name__ == "__main__":
    main()

"""Start-up and first step of the VAE on MNIST, then exit: genlab's own run, and the leanest script.

python benchmarks/first_step.py genlab FOLDER       genlab train experiment=vae_mnist, ended after one step
python benchmarks/first_step.py floor PIXELS.npy    the same model and step in plain PyTorch
python benchmarks/first_step.py export PIXELS.npy   the training images for it, uint8 (N, 784)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

BATCH = 128


def product(folder: str) -> None:
    """The run has its own folder inside `folder`."""
    from genlab.cli import main
    from genlab.engine.trainer import Trainer

    step = Trainer.train_step

    def only(trainer: Trainer) -> NoReturn:
        step(trainer)
        os._exit(0)

    Trainer.train_step = only  # type: ignore[method-assign]
    run_dir = Path(folder) / str(os.getpid())  # another process's folder would be resumed
    sys.exit(main.main(["train", "experiment=vae_mnist", "--device", "cpu", f"hydra.run.dir={run_dir}"]))


def floor(pixels: str) -> NoReturn:
    import numpy as np
    import torch
    from torch import nn

    torch.manual_seed(0)
    images = torch.from_numpy(np.load(pixels))
    encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    x = images[torch.randperm(len(images))[:BATCH]] / 255
    mean, log_variance = encoder(x).chunk(2, 1)
    logits = decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
    nll = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    ((nll + kl) / BATCH).backward()
    adam.step()
    os._exit(0)


def export(pixels: str) -> None:
    import numpy as np

    from genlab.config import compose
    from genlab.distributed.runtime import start
    from genlab.workflows import build

    build.load_registry()
    settings: dict[str, Any] = compose.compose(["experiment=vae_mnist"]).config
    train = build.build_data(settings, start("cpu", "fp32", False, None)).split("train")
    np.save(Path(pixels), train.table.columns["image"].index_select(0, train.indices).flatten(1).numpy())


if __name__ == "__main__":
    {"genlab": product, "floor": floor, "export": export}[sys.argv[1]](sys.argv[2])

"""Train the small classifier whose features evaluate models of MNIST or Fashion-MNIST, and store it in the package.

    python scripts/train_extractor.py mnist
    python scripts/train_extractor.py fashion_mnist

Each takes three minutes on one CPU core. The same machine and versions give the same file. Training uses 55,000 images,
the training split of seed 0, for three minutes; nothing was tuned. The accuracy on the 5,000 validation and 10,000 test
images is written beside the weights, with their SHA-256 and this command.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from genlab import __version__
from genlab.data.loader import Data, Split
from genlab.evaluation.extractors.classifiers import WEIGHTS, Network
from genlab.registry import DATASETS
from genlab.utils.files import file_sha256
from genlab.workflows.build import load_registry

SEED, BATCH, EPOCHS, RATE, DECAY, SHIFT = 0, 100, 10, 5e-3, 1e-2, 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=["mnist", "fashion_mnist"])
    dataset = parser.parse_args().dataset
    torch.set_num_threads(1)
    load_registry()
    data = DATASETS.build({"name": dataset}, "dataset", seed=SEED).open(torch.device("cpu"))
    network = train(data)
    path = WEIGHTS / f"{dataset}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    path.chmod(0o644)
    facts = {
        "command": f"python scripts/train_extractor.py {dataset}",
        "sha256": file_sha256(path),
        "accuracy": {split: accuracy(network, data.split(split)) for split in ("valid", "test")},
        "trained_on": f"{len(data.split('train'))} images, the training split of seed {SEED}",
        "settings": {"batch": BATCH, "epochs": EPOCHS, "learning_rate": RATE, "weight_decay": DECAY, "shift": SHIFT},
        "versions": {"genlab": __version__, "torch": torch.__version__},
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))
    return 0


def train(data: Data) -> Network:
    """Cross entropy, AdamW, one cycle of the learning rate, images shifted by at most a pixel."""
    torch.manual_seed(SEED)
    network = Network().to(memory_format=torch.channels_last)
    batches = data.batches(("image", "label"), BATCH)
    steps = round(EPOCHS * batches.per_epoch)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        image, label = batches.at(step)
        loss = cross_entropy(network.head(network(shifted(image))), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 500 == 0:
            print(f"{step + 1} of {steps}: {loss:.4f}", flush=True)
    return network.eval()


def shifted(image: Tensor) -> Tensor:
    """The batch shifted as a whole by up to SHIFT pixels in each direction."""
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
    height, width = image.shape[2:]
    return pad(image, (SHIFT,) * 4)[:, :, down : down + height, right : right + width]


@torch.no_grad()
def accuracy(network: Network, split: Split) -> float:
    """Fraction of a split's images that are classified correctly."""
    right = sum(
        int((network.head(network(image)).argmax(1) == label).sum())
        for image, label in split.batches(("image", "label"), 500)
    )
    return right / len(split)


if __name__ == "__main__":
    sys.exit(main())

"""Train the acceptance experiments on real data and compare their test metrics with their limits.

    GENLAB_DATA=/where/the/data/are python scripts/acceptance.py [NAME ...]

Run folders are in outputs/acceptance/; finished runs are not trained again. Two cores take about an hour and a half.
The exit code is 1 if a metric misses its limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

RUNS = Path("outputs/acceptance")


@dataclass(frozen=True)
class Figure:
    """Upper limit of an experiment's test metric; None: inspect its images instead."""

    experiment: str
    metric: str = ""
    limit: float | None = None


FIGURES = (
    Figure("vae_mnist", "loss", 107.0),  # nats: the negative ELBO, as beta is 1
    Figure("ae_fashion", "squared_error", 8.5),
    Figure("dcgan_mnist"),
    Figure("vae_celeba", "loss"),
    Figure("dcgan_lsun"),
)


def pca_error(components: int) -> float:
    """Squared error per Fashion-MNIST test image, summed over pixels, of scikit-learn's PCA fitted to train."""
    import torch
    from sklearn.decomposition import PCA

    from genlab.config import compose
    from genlab.distributed.runtime import Runtime
    from genlab.workflows.build import build_data, load_registry

    load_registry()
    settings = compose.compose(["dataset=fashion_mnist", "dataset.valid=0", "evaluator=none"]).config
    data = build_data(settings, Runtime(torch.device("cpu")))
    train, test = (
        torch.cat([image for (image,) in data.split(name).batches(("image",), 10_000)]).flatten(1).numpy()
        for name in ("train", "test")
    )
    pca = PCA(components, random_state=0).fit(train)
    return float(((pca.inverse_transform(pca.transform(test)) - test) ** 2).sum(1).mean())


def genlab(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "genlab", *arguments], check=True)


def measure(figure: Figure) -> float | None:
    """Train or resume, evaluate on the test split, and return the metric."""
    run = RUNS / figure.experiment
    genlab("train", f"experiment={figure.experiment}", f"hydra.run.dir={run}")
    if not figure.metric:
        return None
    genlab("eval", str(run))
    return float(json.loads((run / "eval" / "objective-test.json").read_text())["metrics"][figure.metric])


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("names", nargs="*", choices=[[], *(figure.experiment for figure in FIGURES)])
    options = parse.parse_args()
    missed, lines = 0, []
    for figure in FIGURES:
        if options.names and figure.experiment not in options.names:
            continue
        value = measure(figure)
        over = value is not None and figure.limit is not None and value > figure.limit
        missed += over
        said = "look at its pictures" if value is None else f"{value:.2f} {figure.metric} on test"
        asked = "" if figure.limit is None else f", at most {figure.limit:g}: {'MISSED' if over else 'reached'}"
        lines.append(f"{figure.experiment:<12} {said}{asked}")
        if figure.experiment == "ae_fashion":
            lines.append(f"{'':<12} {pca_error(32):.2f} squared_error of PCA with 32 components (scikit-learn)")
    print("\n".join(lines))
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())

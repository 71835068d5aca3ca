"""Model collapse: models trained on the samples of models, with several fractions of real images.

    GENLAB_DATA=... python scripts/model_collapse.py          # 25 minutes on one CPU core; resumes if interrupted
    python scripts/model_collapse.py --page --out docs        # only the page, from existing runs, over that of docs/

Generation 0 learns from real images. Each later generation learns from equally many images: a fraction of real ones,
the same in every generation, and samples of the generation before. Run folders are outputs/results/collapse_gG_sS,
where S is the fraction in percent; they are measured against test images. The page is model-collapse.md in the folder
`--out`, with images/model-collapse.svg and images/model-collapse-samples.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genlab.reports.charts import HEIGHT, WIDTH, line_chart
from genlab.reports.grid import image_grid
from genlab.runs.evaluations import newest

EXPERIMENT, REAL = "experiment=model_collapse", "{name: mnist}"
SAMPLES = 55_000  # as many as there are real training images
COLUMNS = 20  # samples per run in the image grid
EVALUATORS = ("prdc", "fid")
COLORS = ("#c2410c", "#7e22ce", "#2563eb", "#15803d")
HEAD = """# Model collapse

This page shows what happens when models learn from the samples of other models, and how much real images help.

A model learns from real images, the next one from its samples, the next from the samples of that one, and so on. What
is lost never returns: first rare classes, then variety within classes. Real images in the training set of every
generation slow this down. Enough new real images in each generation stop it
([Alemohammad et al. 2024](https://arxiv.org/abs/2307.01850), Shumailov et al., Nature 631, 2024). Here the real images
are the same in every generation (the "fixed real data" loop of Alemohammad et al.). One seed.

`python scripts/model_collapse.py` makes the runs, this page and its figure. Every generation is a new model of
`experiment=model_collapse`, trained on 55,000 images of MNIST's size. All runs have seed 0, so initial weights and the
noise at each step are equal: the runs differ only in their images. All numbers are measured against the 10,000 test
images with the features of the MNIST classifier ([evaluation](evaluation.md)). Real training images score a precision
of {precision} and a recall of {recall}.

![precision and recall by generation](images/model-collapse.svg)

Samples of generation 0 (top), then of generation {last} with {shares} real images:

![samples](images/model-collapse-samples.png)

"""
TAIL = """
`dataset=generated` does this for any model and any real data set:

```bash
genlab sample last n=55000 out=samples.npy
genlab train dataset=generated dataset.samples=samples.npy dataset.real_fraction=0.5
```
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25, 0.5], help="fractions of real images")
    parser.add_argument("--generations", type=int, default=5, help="generations after generation 0")
    parser.add_argument("--runs", type=Path, default=Path("outputs/results"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("outputs/model-collapse"), help="folder of the page")
    parser.add_argument("--page", action="store_true", help="train nothing")
    parser.add_argument("overrides", nargs="*", help="overrides of `genlab train` for every generation")
    options = parser.parse_args()
    if not options.page:
        for share in options.shares:
            generations(options.runs, share, options.generations, options.overrides)
    write_page(options.out, options.runs, options.shares, options.generations)
    return 0


def folder(runs: Path, generation: int, share: float) -> Path:
    """Generation 0 has one run, which all fractions share."""
    return runs / ("collapse_g0" if generation == 0 else f"collapse_g{generation}_s{round(100 * share)}")


def generations(runs: Path, share: float, last: int, overrides: Sequence[str]) -> None:
    """Train, sample and measure each generation; finished steps are skipped."""
    for generation in range(last + 1):
        run, before = folder(runs, generation, share), folder(runs, generation - 1, share)
        data = [f"dataset.samples={before / 'samples.npy'}", f"dataset.real={REAL}", f"dataset.real_fraction={share}"]
        if not finished(run):
            mixed = ["dataset=generated", *data] if generation else []
            genlab("train", EXPERIMENT, *mixed, *overrides, f"hydra.run.dir={run}")
        if not (run / "samples.npy").exists():
            genlab("sample", str(run), f"n={SAMPLES}", f"seed={generation}", f"out={run / 'samples.npy'}")
        for evaluator in EVALUATORS:
            if newest(run, f"{evaluator}-test") is None:
                words = [f"evaluator={evaluator}", f"evaluator.{evaluator}.extractor=mnist", f"name={evaluator}"]
                genlab("eval", str(run), *words)


def finished(run: Path) -> bool:
    record = run / "run.json"
    return record.exists() and json.loads(record.read_text())["status"] == "done"


def genlab(*words: str) -> None:
    """One command; its error ends this script."""
    print("genlab", *words, flush=True)
    subprocess.run([sys.executable, "-m", "genlab", *words], check=True)


def figures(run: Path) -> dict[str, float] | None:
    """The metrics of a run by name; None if it has not been measured."""
    files = [newest(run, f"{evaluator}-test") for evaluator in EVALUATORS]
    found: dict[str, float] = {}
    for path in files:
        if path is None:
            return None
        found |= json.loads(path.read_text())["metrics"]
    return found


def write_page(out: Path, runs: Path, shares: Sequence[float], last: int) -> None:
    measured = {
        share: {g: found for g in range(last + 1) if (found := figures(folder(runs, g, share)))} for share in shares
    }
    first: dict[str, Any] = next((series[0] for series in measured.values() if 0 in series), {})
    said = {"last": last, "shares": ", ".join(f"{share:.0%}" for share in shares)}
    real = {key: f"{first[f'{key}_mnist_real']:.3f}" if first else "?" for key in ("precision", "recall")}
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    save_samples(images, [folder(runs, 0, 0), *(folder(runs, last, share) for share in shares)])
    chart = figure({share: series for share, series in measured.items() if series})
    (images / "model-collapse.svg").write_text(chart)
    page = out / "model-collapse.md"
    page.write_text(HEAD.format(**real, **said) + "\n".join(table(measured)) + "\n" + TAIL)
    print(page)


def save_samples(images: Path, runs: Sequence[Path]) -> None:
    """The first samples of each run that has samples, one row per run."""
    files = [run / "samples.npy" for run in runs if (run / "samples.npy").exists()]
    if files:
        rows = [torch.from_numpy(np.load(path, mmap_mode="r")[:COLUMNS] / 255) for path in files]
        (images / "model-collapse-samples.png").write_bytes(image_grid(torch.cat(rows), COLUMNS).png)


def table(measured: dict[float, dict[int, dict[str, float]]]) -> Iterator[str]:
    yield "| fraction of real images | generation | precision | recall | density | coverage | FID (mnist) |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for share, series in measured.items():
        for generation, found in series.items():
            values = [f"{found[f'{key}_mnist']:.3f}" for key in ("precision", "recall", "density", "coverage")]
            yield f"| {share:g} | {generation} | {' | '.join(values)} | {found['fid_mnist']:.2f} |"


def figure(measured: dict[float, dict[int, dict[str, float]]]) -> str:
    """Precision and recall by generation, one line per fraction, as a self-contained SVG."""
    rules = [f".s{index}{{stroke:{COLORS[index % len(COLORS)]}}}" for index in range(len(measured))]
    style = "text{font:11px sans-serif;fill:#444}.rule{stroke:#ddd}.line{fill:none;stroke-width:2}" + "".join(rules)
    top = 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT + top}" width="{2 * WIDTH}">',
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>',
    ]
    for index, share in enumerate(measured):
        color = COLORS[index % len(COLORS)]
        parts.append(f'<text x="{60 + 150 * index}" y="16" style="fill:{color}">{share:.0%} real images</text>')
    for place, key in enumerate(("precision", "recall")):
        lines = {
            f"s{index}": [(float(g), found[f"{key}_mnist"]) for g, found in series.items()]
            for index, series in enumerate(measured.values())
        }
        chart = line_chart(lines).replace(
            "<svg ", f'<svg x="{place * WIDTH}" y="{top}" width="{WIDTH}" height="{HEIGHT}" ', 1
        )
        parts += [f'<text x="{place * WIDTH + 60}" y="36">{key}, by generation</text>', chart]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    sys.exit(main())

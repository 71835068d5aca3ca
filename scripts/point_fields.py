"""What GAN, VAE, flow matching and MeanFlow learn from points in the plane, step by step, in one picture.

    python scripts/point_fields.py                  # the ring; minutes on one CPU core; resumes if interrupted
    python scripts/point_fields.py --dataset grid

Columns are models, rows are moments of training. Data is gray, samples are green. The background of the GAN is its
discriminator's logit (red: real, blue: fake), its arrows show where the generator's loss drives a sample. The arrows
of flow matching and MeanFlow are the velocity of the path at 80 % of the way from noise to data. A VAE has no field.
Run folders are outputs/fields/MODEL-DATASET, the picture is outputs/fields/DATASET.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
from PIL import ImageDraw, ImageFont

MODELS = {"gan": "GAN", "vae": "VAE", "flow_matching": "Flow matching", "meanflow": "MeanFlow"}
WORDS = {"flow_matching": ["evaluator.points.sampling.steps=10"]}  # overrides of one model
MOMENTS = (5, 20, 50, 100)  # percent of training
CELL, GAP, LEFT, TOP, FONT = 240, 5, 56, 30, 15  # pixels
COLORS = 256  # in the file, a third of its size with all


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["ring", "grid"], default="ring")
    parser.add_argument("--out", type=Path, default=Path("outputs/fields"), help="folder of the runs and the picture")
    parser.add_argument("overrides", nargs="*", help="overrides of `genlab train` for every model")
    options = parser.parse_args()
    runs = [options.out / f"{model}-{options.dataset}" for model in MODELS]
    for model, run in zip(MODELS, runs, strict=True):
        if not finished(run):
            train(model, options.dataset, run, options.overrides)
    path = options.out / f"{options.dataset}.png"
    picture(runs).quantize(COLORS, kmeans=3, dither=PIL.Image.Dither.NONE).save(path, optimize=True)
    print(path)
    return 0


def finished(run: Path) -> bool:
    record = run / "run.json"
    return record.exists() and json.loads(record.read_text())["status"] == "done"


def train(model: str, dataset: str, run: Path, overrides: Sequence[str]) -> None:
    """One run that draws its points every 5 % of training; its error ends this script."""
    points = ["evaluator=points", "evaluator.points.n=600", "evaluator.points.every=5%", "logger=images"]
    words = ["train", f"model={model}", f"dataset={dataset}", *points, *WORDS.get(model, []), *overrides]
    print("genlab", *words, flush=True)
    subprocess.run([sys.executable, "-m", "genlab", *words, f"hydra.run.dir={run}"], check=True)


def picture(runs: Sequence[Path]) -> PIL.Image.Image:
    """The plots of the runs, one a column, at the moments of training, one a row."""
    size = LEFT + len(runs) * (CELL + GAP), TOP + len(MOMENTS) * (CELL + GAP)
    sheet = PIL.Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for row, percent in enumerate(MOMENTS):
        draw.text((LEFT - 10, TOP + row * (CELL + GAP) + CELL / 2), f"{percent} %", "black", font, "rm")
    for column, (run, title) in enumerate(zip(runs, MODELS.values(), strict=True)):
        left = LEFT + column * (CELL + GAP)
        draw.text((left + CELL / 2, TOP / 2), title, "black", font, "mm")
        for row, found in enumerate(plots_of(run)):
            if found is None:  # an empty cell
                continue
            with PIL.Image.open(found) as plot:
                cell = plot.convert("RGB").resize((CELL, CELL), PIL.Image.Resampling.LANCZOS)
            sheet.paste(cell, (left, TOP + row * (CELL + GAP)))
            draw.rectangle((left, TOP + row * (CELL + GAP), left + CELL - 1, TOP + row * (CELL + GAP) + CELL - 1),
                           outline=(200, 200, 200))  # fmt: skip
    return sheet


def plots_of(run: Path) -> list[Path | None]:
    """The plot at each of the moments, which is the nearest; None if that is further than half of 5 % away."""
    plots = {int(path.stem.rpartition("-")[2]): path for path in (run / "images").glob("points-*.png")}
    if not plots:
        sys.exit(f"no plots in {run / 'images'}; train with evaluator=points logger=images, or delete {run}")
    end = max(plots)  # the last plot is drawn at the end of training
    nearest = [min(plots, key=lambda step: abs(100 * step - percent * end)) for percent in MOMENTS]
    return [plots[step] if abs(100 * step - percent * end) <= 2.5 * end else None
            for step, percent in zip(nearest, MOMENTS, strict=True)]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

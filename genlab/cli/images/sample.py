"""genlab sample: images from a trained model's distribution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Le
from pydantic import Field

from genlab.cli.images.image_command import ImageCommand, Save, Seed, Target, grid, writing
from genlab.errors import ConfigError
from genlab.registry import Count
from genlab.utils.image_file import ARRAYS

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab sample last
  genlab sample outputs/dcgan-mnist/2026-11-20_14-03-12 n=100 seed=7 out=samples.png
  genlab sample last n=60000 out=samples.npy        numbers, e.g. for dataset=generated
  genlab sample last label=7                        of a conditional model, e.g. cvae
  genlab sample last truncation=0.7 seed=3          of a StyleGAN2
"""
MOST_IN_A_GRID, BATCH = 10_000, 256
SQUARE = "images in a row; null: a square, or one column a class where the model takes classes"
FILE = f"PNG file, or {', '.join(ARRAYS)}: all n as uint8 (n, C, H, W); null: RUN/images/..."


@dataclass(frozen=True)
class Keys:
    n: Annotated[int, Gt(0), Le(100_000), Field(description="how many")] = 64
    seed: Seed = 0
    columns: Annotated[Count | None, Field(description=SQUARE)] = None
    out: Annotated[str | None, Field(description=FILE)] = None


def sample(loaded: LoadedRun, keys: Keys, **options: Any) -> Save:
    """n samples as one grid or file of numbers; the same seed gives the same images on the same device."""
    import torch

    from genlab.core.sampling import sample_batches
    from genlab.reports.grid import class_columns
    from genlab.utils import image_file

    in_a_grid = Path(keys.out or ".png").suffix.lower() not in ARRAYS
    if in_a_grid and keys.n > MOST_IN_A_GRID:
        raise ConfigError(f"{keys.n} images are too many for one grid", "key n", "give out=samples.npy")
    model: Any = loaded.model
    images = torch.cat([image_file.as_bytes(batch) for batch in sample_batches(model, keys.n, BATCH, **options)])
    if in_a_grid:
        by_class = None if options.get("label") is not None else class_columns(loaded.model, keys.n)
        return grid(images / 255, keys.columns or by_class)

    def save(target: Target) -> None:
        with writing(target) as file:
            image_file.write(file, target.path.suffix.lower(), images)

    return save


COMMAND = ImageCommand(
    "sample", "Sample images from a trained model.", EXAMPLES, Keys, sample, "samples n seed",
    needs=("Samples",), options_of="sample", suffixes=(".png", *ARRAYS),
)  # fmt: skip

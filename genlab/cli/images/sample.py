"""genlab sample: draw images from a trained model."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Le

from genlab.cli.images import drawing
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError
from genlab.registry import Count, NonNegativeInt, Truncation
from genlab.utils.image_file import ARRAYS

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

KEYS = drawing.keys_text(
    n="how many (64)",
    seed="of the noise (0)",
    label="a class, of models that take one",
    truncation="below 1: better and less varied, of models that take it",
    columns="per row (a square; one a class where the model takes classes)",
    out="PNG file, or .npy, .npz, .safetensors: all n as uint8 (n, C, H, W)",
)
EXAMPLES = """\
  genlab sample last
  genlab sample outputs/dcgan-mnist/2026-11-20_14-03-12 n=100 seed=7 out=samples.png
  genlab sample last n=60000 out=samples.npy        numbers, e.g. for dataset=generated
  genlab sample last label=7                        of a conditional model, e.g. cvae
  genlab sample last truncation=0.7 seed=3          of a StyleGAN2
"""
MOST, MOST_IN_A_PICTURE, MOST_AT_ONCE = 100_000, 10_000, 256


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    n: Annotated[int, Gt(0), Le(MOST)] = 64
    seed: NonNegativeInt = 0
    label: NonNegativeInt | None = None
    truncation: Truncation | None = None
    columns: Count | None = None
    out: str | None = None


def parser() -> Parser:
    return drawing.picture_parser("sample", "Draw images from a trained model's distribution.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    sample(drawing.open_run(options), keys)
    return 0


def sample(loaded: LoadedRun, keys: Keys) -> None:
    """n samples as one grid or file of numbers; the same seed gives the same images on the same device."""
    import torch

    from genlab.core import rng
    from genlab.core.model import Samples
    from genlab.core.sampling import classes_in_turn, in_parts
    from genlab.reports.grid import class_columns, image_grid
    from genlab.utils.image_file import as_bytes, write

    name = drawing.named("samples", keys, "n", "seed")
    path = drawing.destination(keys.out, loaded, name, (".png", *ARRAYS))
    drawn = path.suffix.lower() == ".png"
    if drawn and keys.n > MOST_IN_A_PICTURE:
        raise ConfigError(f"{keys.n} images are too many for a picture", "key n", "give out=samples.npy")
    drawing.require(loaded, Samples)
    assert isinstance(loaded.model, Samples)
    given = _conditions(loaded, keys)
    mixed = keys.label is None  # all classes in turn
    rng.seed(keys.seed)
    with torch.no_grad():
        parts = in_parts(keys.n, MOST_AT_ONCE, classes_in_turn(loaded.model) if mixed else None)
        images = torch.cat([as_bytes(loaded.model.sample(part, **given)) for part in parts])
    if drawn:
        columns = class_columns(loaded.model, keys.n) if mixed else None
        drawing.save(path, image_grid(images / 255, keys.columns or columns))
    else:
        write(path, images)
        print(path)


def _conditions(loaded: LoadedRun, keys: Keys) -> dict[str, int | float]:
    """What `sample` is asked for; ConfigError if the model does not take it, or has no such class."""
    model: Any = loaded.model
    given = {"label": keys.label, "truncation": keys.truncation}
    asked = {name: value for name, value in given.items() if value is not None}
    for name in asked:
        if name not in inspect.signature(model.sample).parameters:
            raise ConfigError(
                f"model '{loaded.config['name']}' takes no {name}", f"run {loaded.path}", f"leave {name}=... out"
            )
    if keys.label is not None and keys.label >= model.num_classes:
        raise ConfigError(
            f"there is no class {keys.label}", f"run {loaded.path}", f"give a label from 0 to {model.num_classes - 1}"
        )
    return asked

"""genlab sample: draw images from a trained model."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genlab.registry import Count, NonNegativeInt
from genlab.verbs import pictures
from genlab.verbs.options import Parser, keywords

if TYPE_CHECKING:
    from genlab.build import LoadedRun

KEYS = pictures.keys_text(n="how many (64)", seed="of the noise (0)", columns="per row (a square)", out="PNG file")
EXAMPLES = """\
  genlab sample last
  genlab sample outputs/dcgan-mnist/2026-11-20_14-03-12 n=100 seed=7 out=samples.png
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    n: Count = 64
    seed: NonNegativeInt = 0
    columns: Count | None = None
    out: str | None = None


def parser() -> Parser:
    return pictures.picture_parser("sample", "Draw images from a trained model's distribution.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    sample(pictures.open_run(options), keys)
    return 0


def sample(loaded: LoadedRun, keys: Keys) -> None:
    """n samples as one grid; the same seed gives the same images on the same device."""
    import torch

    from genlab import noise
    from genlab.grid import image_grid
    from genlab.model import Samples

    path = pictures.destination(keys.out, loaded, f"samples-n{keys.n}-seed{keys.seed}")
    pictures.require(loaded, Samples)
    assert isinstance(loaded.model, Samples)
    noise.seed(keys.seed)
    with torch.no_grad():
        images = torch.cat([loaded.model.sample(part).cpu() for part in pictures.in_parts(keys.n)])
    pictures.save(path, image_grid(images, keys.columns))

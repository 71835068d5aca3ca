"""genlab reconstruct: images of the data set, and what a trained model makes of them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genlab.cli.images import drawing
from genlab.cli.options import Parser, keywords
from genlab.registry import Count, NonNegativeInt

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

KEYS = drawing.keys_text(
    n="how many (32)", split="train, valid or test", columns="per row (8)", seed="of the noise (0)", out="PNG file"
)
EXAMPLES = """\
  genlab reconstruct last
  genlab reconstruct last n=64 split=valid out=reconstructions.png
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    n: Count = 32
    split: Literal["train", "valid", "test"] = "test"
    columns: Count = 8
    seed: NonNegativeInt = 0
    out: str | None = None


def parser() -> Parser:
    return drawing.picture_parser("reconstruct", "Rows of originals, each above its reconstructions.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    reconstruct(drawing.open_run(options), keys)
    return 0


def reconstruct(loaded: LoadedRun, keys: Keys) -> None:
    """The first n images of a split, in whole rows of `columns`, each row above the row of its reconstructions."""
    import torch

    from genlab.core import rng
    from genlab.core.model import Reconstructs
    from genlab.reports.grid import image_grid

    path = drawing.destination(keys.out, loaded, drawing.named("reconstructions", keys, "split", "n"))
    drawing.require(loaded, Reconstructs)
    assert isinstance(loaded.model, Reconstructs)
    rows = loaded.data().split(keys.split)
    n = min(keys.n, len(rows))
    columns = min(keys.columns, n)
    given = rows.first(n - n % columns, ("image", *loaded.model.conditions))
    rng.seed(keys.seed)
    with torch.no_grad():
        parts = zip(*(column.split(256) for column in given), strict=True)
        made = torch.cat([loaded.model.reconstruct(*part) for part in parts])
    pairs = zip(given[0].split(columns), made.split(columns), strict=True)
    drawing.save(path, image_grid(torch.cat([row.cpu() for pair in pairs for row in pair]), columns))

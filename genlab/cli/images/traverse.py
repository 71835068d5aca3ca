"""genlab traverse: what each number of a code does to the image."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt, Lt

from genlab.cli.images import drawing
from genlab.cli.options import Parser, keywords
from genlab.registry import Count, PositiveFloat

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

STATISTICS = 500  # images whose codes say how far a dimension reaches
Steps = Annotated[int, Gt(1), Lt(1000)]
KEYS = drawing.keys_text(
    n="images, one block of rows each (1)", dimensions="rows, those that vary most first (10)",
    columns="images in a row (11)", reach="standard deviations to each side (2)", split="train, valid or test",
    out="PNG file",
)  # fmt: skip
EXAMPLES = """\
  genlab traverse last
  genlab traverse last n=3 dimensions=5 reach=3 out=walks.png
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    n: Count = 1
    dimensions: Count = 10
    columns: Steps = 11
    reach: PositiveFloat = 2.0
    split: Literal["train", "valid", "test"] = "test"
    out: str | None = None


def parser() -> Parser:
    return drawing.picture_parser("traverse", "One number of a code changes along each row.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    traverse(drawing.open_run(options), keys)
    return 0


def traverse(loaded: LoadedRun, keys: Keys) -> None:
    """For each of a split's first n images, a block of rows in which one number of its code changes."""
    import torch

    from genlab.core.model import Decodes, Encodes
    from genlab.evaluation.latent import codes, walks
    from genlab.reports.grid import image_grid

    path = drawing.destination(keys.out, loaded, drawing.named("traversals", keys, "split", "n"))
    drawing.require(loaded, Encodes, Decodes)
    assert isinstance(loaded.model, Decodes)
    with torch.no_grad():
        known = codes(loaded.model, loaded.data().split(keys.split), max(STATISTICS, keys.n))
        rows = range(min(keys.n, len(known)))
        ways = torch.cat([walks(known, row, keys.dimensions, keys.columns, keys.reach) for row in rows])
        images = drawing.decoded(loaded, ways.flatten(0, 1))
    drawing.save(path, image_grid(images, keys.columns))

"""genlab inpaint: images with a square missing, and how a trained model fills it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from genlab.cli.images import drawing, restore
from genlab.cli.options import Parser, keywords

if TYPE_CHECKING:
    from torch import Tensor

KEYS = drawing.keys_text(box="side of the square, a share of the image's shorter side (0.4)", **restore.COMMON)
EXAMPLES = """\
  genlab inpaint last
  genlab inpaint last box=0.25 n=32 seed=1
  genlab inpaint last image=face.png out=filled.png
"""


def parser() -> Parser:
    return drawing.picture_parser("inpaint", "Rows of images, above them with a square missing, above filled.", KEYS,
                                   EXAMPLES)  # fmt: skip


def run(options: argparse.Namespace) -> int:
    keys = restore.InpaintKeys(**keywords(restore.InpaintKeys, options.options))
    loaded = drawing.open_run(options)
    from genlab.nn.augment.corruptions import GRAY, box_mask

    unknown: Tensor

    def corrupt(image: Tensor) -> Tensor:
        nonlocal unknown
        unknown = box_mask(image, keys.box)
        return image.masked_fill(unknown, GRAY)

    def fill(corrupted: Tensor, restored: Tensor) -> Tensor:
        return restored.where(unknown, corrupted)

    restore.restore(loaded, keys, drawing.named("inpainted", keys, "box"), corrupt, fill)
    return 0

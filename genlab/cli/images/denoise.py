"""genlab denoise: noisy images, and what a trained model makes of them."""

from __future__ import annotations

import argparse
from dataclasses import replace

from genlab.cli.images import drawing, restore
from genlab.cli.options import Parser, keywords
from genlab.registry import CORRUPTIONS

KEYS = drawing.keys_text(
    sigma="of the noise that is added (0.3; 0 with image=, which is taken to be noisy)", **restore.COMMON
)
EXAMPLES = """\
  genlab denoise last
  genlab denoise last sigma=0.5 n=32
  genlab denoise last image=scan.png out=clean.png
"""


def parser() -> Parser:
    return drawing.picture_parser("denoise", "Rows of images, above them with noise, above denoised.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = restore.DenoiseKeys(**keywords(restore.DenoiseKeys, options.options))
    loaded = drawing.open_run(options)
    if keys.sigma is None:
        keys = replace(keys, sigma=0.0 if keys.image else 0.3)
    corrupt = CORRUPTIONS.build({"name": "gaussian", "amount": keys.sigma}, "genlab denoise")
    name = drawing.named("denoised", keys, "sigma")
    restore.restore(loaded, keys, name, corrupt, lambda corrupted, restored: restored)
    return 0

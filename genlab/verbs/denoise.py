"""genlab denoise: noisy images, and what a trained model makes of them."""

from __future__ import annotations

import argparse
from dataclasses import replace

from genlab.registry import CORRUPTIONS
from genlab.verbs import pictures, restoring
from genlab.verbs.options import Parser, keywords

KEYS = pictures.keys_text(
    sigma="of the noise that is added (0.3; 0 with image=, which is taken to be noisy)", **restoring.COMMON
)
EXAMPLES = """\
  genlab denoise last
  genlab denoise last sigma=0.5 n=32
  genlab denoise last image=scan.png out=clean.png
"""


def parser() -> Parser:
    return pictures.picture_parser("denoise", "Rows of images, above them with noise, above denoised.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = restoring.DenoiseKeys(**keywords(restoring.DenoiseKeys, options.options))
    loaded = pictures.open_run(options)
    if keys.sigma is None:
        keys = replace(keys, sigma=0.0 if keys.image else 0.3)
    corrupt = CORRUPTIONS.build({"name": "gaussian", "amount": keys.sigma}, "genlab denoise")
    name = pictures.named("denoised", keys, "sigma")
    restoring.restore(loaded, keys, name, corrupt, lambda corrupted, restored: restored)
    return 0

"""The images that a run wrote while it trained, as the frames of a film."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from genlab.core.values import Image
from genlab.errors import ConfigError, DataError, nearest
from genlab.reports.html_page import IMAGE_LIMIT
from genlab.reports.report import images_by_name, step_of
from genlab.utils.own_folder import OwnFolder

FIRST = ("samples", "points", "reconstructions", "translations")  # shown if none is named


def over_training(run: Path, name: str | None, count: int) -> list[Path]:
    """At most `count` images of a name, evenly spaced over the steps, the first and the last included.

    `name` None: samples, else points, else reconstructions, else any. ConfigError if the run has not two of them.
    """
    found = {key: paths for key, paths in images_by_name(run).items() if len(paths) > 1}
    if not found:
        hint = "train with evaluator=samples and the logger `images`"
        raise ConfigError("the run has no images of several steps", f"folder {run / 'images'}", hint)
    name = name or next((each for each in FIRST if each in found), min(found))
    if name not in found:
        raise ConfigError(f"no images of several steps are named '{name[:60]}'", "key image", nearest(name, found))
    paths, last = found[name], len(found[name]) - 1
    few = min(count, len(paths))
    return [paths[round(i * last / (few - 1))] for i in range(few)]


def frames(run: Path, paths: Sequence[Path], most_pixels: int) -> tuple[list[Image], list[int]]:
    """The images and their steps; those of another size than the last one, of an earlier evaluator, are left out.

    ConfigError if all together have more than `most_pixels` or only one is left, DataError if one is damaged.
    """
    own, known = OwnFolder(run), list[tuple[Image, int]]()
    for path in reversed(paths):
        image = _read(own.read(f"images/{path.name}", IMAGE_LIMIT) or b"", path, most_pixels // len(paths))
        if not known or image.pixels.shape == known[0][0].pixels.shape:
            known.insert(0, (image, step_of(path)))
    if len(known) < 2:
        raise ConfigError("all other images have another size", f"image {paths[-1]}", "name others: image=")
    return [image for image, _ in known], [step for _, step in known]


def _read(data: bytes, path: Path, most_pixels: int) -> Image:
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as opened:  # the header alone
            if opened.width * opened.height * 3 > most_pixels:
                raise ConfigError("a film of these images is too large", f"image {path}", "use fewer frames")
            pixels = np.asarray(opened.convert("RGB")).transpose(2, 0, 1).copy()
    # Pillow raises SyntaxError of damaged chunks, and an error of its own at a header of huge sizes
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"image {path} cannot be read", str(error)[:100], "remove it") from None
    return Image(torch.from_numpy(pixels))

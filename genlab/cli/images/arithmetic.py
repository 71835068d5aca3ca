"""genlab arithmetic: an attribute as a direction among codes, added to images that lack it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Lt

from genlab.cli.images import drawing
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError, DataError, nearest
from genlab.registry import Count, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.data.dataset import Data
    from genlab.workflows.build import LoadedRun

Steps = Annotated[int, Gt(1), Lt(1000)]
KEYS = drawing.keys_text(
    attribute="its name, or a class (required)", n="images, one a row (8)", steps="codes in a row (6)",
    strength="how often the last one has the direction added (1.5)", images="training images that are averaged (5000)",
    out="PNG file",
)  # fmt: skip
EXAMPLES = """\
  genlab arithmetic RUN attribute=Smiling              faces of CelebA
  genlab arithmetic RUN attribute=7 n=4 strength=1     digits towards sevens
"""


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    attribute: str | int
    n: Count = 8
    steps: Steps = 6
    strength: PositiveFloat = 1.5
    images: PositiveInt = 5000
    out: str | None = None


def parser() -> Parser:
    about = (
        "Rows: a test image without the attribute, then decoded codes with more and more of it.\n"
        "The direction is the mean code of training images with the attribute minus that of those without."
    )
    return drawing.picture_parser("arithmetic", about, KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    if not any(item.startswith("attribute=") for item in options.options):
        raise ConfigError("which attribute?", "genlab arithmetic", "give attribute=NAME, e.g. attribute=Smiling")
    keys = Keys(**keywords(Keys, options.options))
    arithmetic(drawing.open_run(options), keys)
    return 0


def arithmetic(loaded: LoadedRun, keys: Keys) -> None:
    """The first n test images without the attribute, each before its decoded codes, from none to `strength` times."""
    import torch

    from genlab.core.model import Decodes, Encodes
    from genlab.reports.grid import image_grid

    path = drawing.destination(keys.out, loaded, drawing.named("arithmetic", keys, "attribute"))
    drawing.require(loaded, Encodes, Decodes)
    data = loaded.data()
    number = _number(data, str(keys.attribute))
    with torch.no_grad():
        towards = direction(loaded, data, number, keys.images)
        image, code = _without(loaded, data, number, keys.n)
        amounts = torch.linspace(0, keys.strength, keys.steps)[None, :, None]
        made = drawing.decoded(loaded, (code[:, None] + amounts * towards).flatten(0, 1))
    rows = torch.cat([image[:, None], made.unflatten(0, (len(image), keys.steps))], dim=1)
    drawing.save(path, image_grid(rows.flatten(0, 1), keys.steps + 1))


def direction(loaded: LoadedRun, data: Data, number: int, images: int) -> Tensor:
    """The mean code (D,) of training images with the attribute minus that of those without, over the first `images`."""
    from genlab.evaluation.latent import codes

    train = data.split("train")
    code = codes(loaded.model, train, images)
    (label,) = train.first(len(code), ("label",))
    has = _has(label, number).cpu()
    if not has.any() or has.all():
        raise DataError(
            f"{'all' if has.all() else 'none'} of the first {len(code)} training images have this attribute",
            f"run {loaded.path}",
            "give another attribute, or more images=",
        )
    return code[has].mean(0) - code[~has].mean(0)


def _number(data: Data, attribute: str) -> int:
    names = {name.casefold(): index for index, name in enumerate(data.label_names or [])}
    if not names:
        raise ConfigError(f"data set '{data.name}' has no labels", "key attribute", "use a run on a labelled data set")
    if attribute.casefold() not in names:
        known = data.label_names or []
        raise ConfigError(f"unknown attribute '{attribute[:60]}'", f"data set {data.name}", nearest(attribute, known))
    return names[attribute.casefold()]


def _has(label: Tensor, number: int) -> Tensor:
    """Which images (N,) have the attribute, or are of the class, with this number."""
    return label[:, number] > 0.5 if label.ndim == 2 else label == number


def _without(loaded: LoadedRun, data: Data, number: int, n: int) -> tuple[Tensor, Tensor]:
    """The first n test images (n, C, H, W) without the attribute, and their codes (n, D), on the host."""
    import torch

    from genlab.core.model import Encodes

    model = loaded.model
    assert isinstance(model, Encodes)
    images, codes = [], []
    for image, label, *conditions in data.split("test").batches(("image", "label", *model.conditions), 256):
        rows = ~_has(label, number)
        images.append(image[rows].cpu())
        if rows.any():
            code = model.encode(image[rows], *(each[rows] for each in conditions))
            codes.append(code.flatten(1).float().cpu())
        if sum(map(len, images)) >= n:
            break
    if not codes:
        raise DataError("every test image has this attribute", f"run {loaded.path}", "give another attribute")
    return torch.cat(images)[:n], torch.cat(codes)[:n]

"""genlab arithmetic: an attribute as a direction among codes, added to images that lack it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from genlab.cli.images.image_command import GridKeys, ImageCommand, Save, Steps, decoded, grid
from genlab.errors import ConfigError, DataError, nearest
from genlab.registry import Count, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.data.dataset import Data
    from genlab.workflows.build import LoadedRun

ABOUT = """\
Rows: a test image without the attribute, then decoded codes with more and more of it.
The direction is the mean code of training images with the attribute minus that of those without."""
EXAMPLES = """\
  genlab arithmetic RUN attribute=Smiling              faces of CelebA
  genlab arithmetic RUN attribute=7 n=4 strength=1     digits towards sevens
"""


@dataclass(frozen=True)
class Keys(GridKeys):
    attribute: Annotated[str | int, Field(description="name of an attribute or class, e.g. Smiling")]
    n: Annotated[Count, Field(description="images, one a row")] = 8
    steps: Annotated[Steps, Field(description="codes in a row")] = 6
    strength: Annotated[PositiveFloat, Field(description="multiple of the direction that the last code adds")] = 1.5
    images: Annotated[PositiveInt, Field(description="training images that are averaged")] = 5000


def arithmetic(loaded: LoadedRun, keys: Keys) -> Save:
    """n test images without the attribute, each before its decoded codes, from none to `strength` times."""
    import torch

    from genlab.reports.captions import Labels

    data = loaded.data()
    number = _number(data, str(keys.attribute))
    towards = direction(loaded, data, number, keys.images)
    image, code = _without(loaded, data, number, keys.n)
    amounts = torch.linspace(0, keys.strength, keys.steps)[None, :, None]
    made = decoded(loaded, (code[:, None] + amounts * towards).flatten(0, 1))
    rows = torch.cat([image[:, None], made.unflatten(0, (len(image), keys.steps))], dim=1)
    names = ["image", *(f"{float(each):+.2g}" for each in amounts.flatten())]
    caption = f"{(data.label_names or [])[number]}: multiples of the direction"
    return grid(rows.flatten(0, 1), keys, keys.steps + 1, labels=Labels(caption, columns=names))


def direction(loaded: LoadedRun, data: Data, number: int, images: int) -> Tensor:
    """The mean code (D,) of training images with the attribute minus that of those without, over `images`."""
    from genlab.evaluation.latent import codes

    train = data.split("train").drawn(images)
    code = codes(loaded.model, train)
    (label,) = train.take(len(train), ("label",))
    has = _has(label, number).cpu()
    if not has.any() or has.all():
        raise DataError(
            f"{'all' if has.all() else 'none'} of {len(code)} training images have this attribute",
            f"run {loaded.path}",
            "give another attribute, or more images=",
        )
    return code[has].mean(0) - code[~has].mean(0)


def _number(data: Data, attribute: str) -> int:
    names = {name.casefold(): index for index, name in enumerate(data.label_names or [])}
    if not names:
        raise ConfigError(f"data set '{data.name}' has no labels", "key attribute", "use a run on a labeled data set")
    if attribute.casefold() not in names:
        known = data.label_names or []
        raise ConfigError(f"unknown attribute '{attribute[:60]}'", f"data set {data.name}", nearest(attribute, known))
    return names[attribute.casefold()]


def _has(label: Tensor, number: int) -> Tensor:
    """Which images (N,) have the attribute, or are of the class, with this number."""
    return label[:, number] > 0.5 if label.ndim == 2 else label == number


def _without(loaded: LoadedRun, data: Data, number: int, n: int) -> tuple[Tensor, Tensor]:
    """n test images (n, C, H, W) without the attribute, and their codes (n, D), on the host."""
    from genlab.evaluation.latent import codes

    test = data.split("test")
    (label,) = test.take(len(test), ("label",))
    lacking = replace(test, indices=test.indices[~_has(label, number).to(test.indices.device)])
    if not len(lacking):
        raise DataError("every test image has this attribute", f"run {loaded.path}", "give another attribute")
    drawn = lacking.drawn(n)
    return drawn.take(n, ("image",))[0].cpu(), codes(loaded.model, drawn)


COMMAND = ImageCommand(
    "arithmetic", ABOUT, EXAMPLES, Keys, arithmetic, "arithmetic attribute", needs=("Encodes", "Decodes")
)

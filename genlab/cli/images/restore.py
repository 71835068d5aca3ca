"""genlab reconstruct, denoise and inpaint: images, or corrupted images, above a trained model's reconstructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from genlab.cli.images import user_images
from genlab.cli.images.image_command import (
    Columns,
    ImageCommand,
    OwnImages,
    PNGFile,
    Save,
    Seed,
    SplitName,
    rows_above,
)
from genlab.errors import ConfigError
from genlab.registry import CORRUPTIONS, Count, Fraction, NonNegativeFloat
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

RECONSTRUCT = """\
  genlab reconstruct last
  genlab reconstruct last n=64 split=valid out=reconstructions.png
"""
DENOISE = """\
  genlab denoise last
  genlab denoise last sigma=0.5 n=32
  genlab denoise last image=scan.png out=clean.png
"""
INPAINT = """\
  genlab inpaint last
  genlab inpaint last box=0.25 n=32 seed=1
  genlab inpaint last image=face.png out=filled.png
"""
SIGMA = "of the Gaussian noise that is added; null: 0.3, or 0 with image=, which is taken to be noisy"


@dataclass(frozen=True)
class Keys:
    n: Annotated[Count, Field(description="how many")] = 32
    split: SplitName = "test"
    columns: Columns = 8
    seed: Seed = 0
    out: PNGFile = None


@dataclass(frozen=True)
class RestoreKeys(Keys):
    n: Annotated[Count, Field(description="how many")] = 16
    image: OwnImages = None


@dataclass(frozen=True)
class DenoiseKeys(RestoreKeys):
    sigma: Annotated[NonNegativeFloat | None, Field(description=SIGMA)] = None


@dataclass(frozen=True)
class InpaintKeys(RestoreKeys):
    box: Annotated[Fraction, Field(description="side of the missing square, as a fraction of the shorter side")] = 0.4


def reconstruct(loaded: LoadedRun, keys: Keys) -> Save:
    """n images of a split, each row above the row of their reconstructions."""
    import torch

    model: Any = loaded.model
    columns = loaded.data().split(keys.split).take(keys.n, ("image", *loaded.model.conditions))
    parts = zip(*(column.split(256) for column in columns), strict=True)
    made = torch.cat([model.reconstruct(*part) for part in parts])
    return rows_above(columns[0], made, columns=keys.columns)


def denoise(loaded: LoadedRun, keys: DenoiseKeys) -> Save:
    """Rows of images, above them with noise, if any is added, above denoised."""
    sigma = keys.sigma if keys.sigma is not None else 0.0 if keys.image else 0.3
    corrupt = CORRUPTIONS.build({"name": "gaussian", "amount": sigma}, "genlab denoise")
    save = _restored(loaded, keys, "gaussian", lambda image: (corrupt(image), None))
    if keys.image and keys.sigma is None:
        say(f"no noise is added: {keys.image} is taken to be noisy already; sigma=0.3 adds noise")
    return save


def inpaint(loaded: LoadedRun, keys: InpaintKeys) -> Save:
    """Rows of images, above them with a square missing, above filled: known pixels stay."""
    from genlab.nn.augment.corruptions import GRAY, box_mask

    def corrupt(image: Tensor) -> tuple[Tensor, Tensor]:
        unknown = box_mask(image, keys.box)
        return image.masked_fill(unknown, GRAY), unknown

    return _restored(loaded, keys, "box", corrupt)


def _restored(
    loaded: LoadedRun, keys: RestoreKeys, name: str, corrupt: Callable[[Tensor], tuple[Tensor, Tensor | None]]
) -> Save:
    """`corrupt` gives the corrupted images and a mask of the pixels to be replaced, or None for all of them.

    Where nothing was corrupted there is no row of corrupted images. `name` is what `model.corruption` calls it: a
    model that was trained on another one gets a notice.
    """
    import torch

    from genlab.nn.augment.corruptions import untrained_corruption

    advice = untrained_corruption(loaded.model, name)
    if advice:
        say(f"warning: {advice}")
    model: Any = loaded.model
    columns = _chosen(loaded, keys)
    found = []
    for image, *conditions in zip(*(column.split(keys.columns) for column in columns), strict=True):
        corrupted, unknown = corrupt(image)
        made = model.reconstruct(corrupted, *conditions)
        found.append((image, corrupted, made if unknown is None else made.where(unknown, corrupted)))
    clean, given, restored = (torch.cat(stack) for stack in zip(*found, strict=True))
    rows = (clean, restored) if torch.equal(clean, given) else (clean, given, restored)
    return rows_above(*rows, columns=keys.columns)


def _chosen(loaded: LoadedRun, keys: RestoreKeys) -> tuple[Tensor, ...]:
    """The user's images, or some of a split with the columns that the model's methods take after the image."""
    if keys.image is None:
        return loaded.data().split(keys.split).take(keys.n, ("image", *loaded.model.conditions))
    if loaded.model.conditions:
        raise ConfigError(
            f"an image of your own has no {' or '.join(loaded.model.conditions)}, which this model needs",
            "key image",
            "leave it out: images of the data set have it",
        )
    return (user_images.for_model(loaded, user_images.files_at(keys.image)[: keys.n]),)


RECONSTRUCT_COMMAND = ImageCommand(
    "reconstruct", "Rows of originals, each above its reconstructions.", RECONSTRUCT, Keys, reconstruct,
    "reconstructions split n", needs=("Reconstructs",),
)  # fmt: skip
DENOISE_COMMAND = ImageCommand(
    "denoise", "Rows of images, above them with noise, above denoised.", DENOISE, DenoiseKeys, denoise,
    "denoised sigma", needs=("Reconstructs",),
)  # fmt: skip
INPAINT_COMMAND = ImageCommand(
    "inpaint", "Rows of images, above them with a square missing, above filled.", INPAINT, InpaintKeys, inpaint,
    "inpainted box", needs=("Reconstructs",),
)  # fmt: skip

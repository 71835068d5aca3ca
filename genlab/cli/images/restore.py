"""genlab reconstruct, denoise and inpaint: images, or corrupted images, above what a trained model makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from genlab.cli.images import user_images
from genlab.cli.images.image_command import (
    Columns,
    GridKeys,
    ImageCommand,
    OwnImages,
    Save,
    Seed,
    SplitName,
    rows_above,
)
from genlab.errors import ConfigError
from genlab.registry import Count, Fraction, NonNegativeFloat
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.evaluation.corrupted import Corrupt
    from genlab.workflows.build import LoadedRun

RECONSTRUCT = """\
  genlab reconstruct last
  genlab reconstruct last n=64 split=valid out=reconstructions.png
  genlab reconstruct last image=scans
"""
DENOISE = """\
  genlab denoise last
  genlab denoise last sigma=0.5 n=32
  genlab denoise last image=scan.png out=clean.png
  genlab denoise last image=scan.png image_sigma=0.2    of a diffusion or flow model, which must know how noisy it is
"""
INPAINT = """\
  genlab inpaint last
  genlab inpaint last box=0.25 n=32 seed=1
  genlab inpaint last image=face.png out=filled.png
  genlab inpaint last steps=50 repeats=10           of a diffusion or flow model
"""
SIGMA = "of the Gaussian noise that is added; null: 0.3, or 0 with image=, which is taken to be noisy"
IMAGE_SIGMA = "of the Gaussian noise that the images of image= already have, for a model that is told it"


@dataclass(frozen=True)
class Keys(GridKeys):
    n: Annotated[Count, Field(description="how many")] = 32
    split: SplitName = "test"
    columns: Columns = 8
    seed: Seed = 0
    image: OwnImages = None


@dataclass(frozen=True)
class RestoreKeys(Keys):
    n: Annotated[Count, Field(description="how many")] = 16


@dataclass(frozen=True)
class DenoiseKeys(RestoreKeys):
    sigma: Annotated[NonNegativeFloat | None, Field(description=SIGMA)] = None
    image_sigma: Annotated[NonNegativeFloat, Field(description=IMAGE_SIGMA)] = 0.0


@dataclass(frozen=True)
class InpaintKeys(RestoreKeys):
    box: Annotated[Fraction, Field(description="side of the missing square, as a fraction of the shorter side")] = 0.4


def reconstruct(loaded: LoadedRun, keys: Keys) -> Save:
    """n images of a split, or the user's, each row above the row of their reconstructions."""
    import torch

    model: Any = loaded.model
    columns = _chosen(loaded, keys)
    parts = zip(*(column.split(256) for column in columns), strict=True)
    made = torch.cat([model.reconstruct(*part) for part in parts])
    return rows_above(keys, keys.columns, image=columns[0], reconstruction=made)


def denoise(loaded: LoadedRun, keys: DenoiseKeys, **options: Any) -> Save:
    """Rows of images, above them with noise, if any is added, above denoised.

    A model that is told the noise gives the mean of clean images, and below it one of them at random.
    """
    from genlab.core.model import Denoises
    from genlab.evaluation.corrupted import Corrupted, with_noise

    sigma = keys.sigma if keys.sigma is not None else 0.0 if keys.image else 0.3
    told = isinstance(loaded.model, Denoises)
    if keys.image_sigma and not keys.image:
        raise ConfigError("images of the data set have no noise", "key image_sigma", "use sigma=..., which adds noise")
    if keys.image_sigma and not told:
        raise ConfigError("the model is not told how noisy an image is", "key image_sigma", "leave it out")
    total = (sigma**2 + keys.image_sigma**2) ** 0.5
    if keys.image and not total and told:
        raise ConfigError("the model must know how noisy the image is", "key image_sigma", "add image_sigma=0.2")
    corrupt = with_noise("gaussian", sigma, "genlab denoise")
    save = _restored(loaded, keys, "gaussian", lambda image: Corrupted(corrupt(image).image, sigma=total), options)
    if keys.image and keys.sigma is None:
        say(f"no noise is added: {keys.image} is taken to be noisy already; sigma=0.3 adds noise")
    return save


def inpaint(loaded: LoadedRun, keys: InpaintKeys, **options: Any) -> Save:
    """Rows of images, above them with a square missing, above filled: known pixels stay."""
    from genlab.evaluation.corrupted import with_box

    return _restored(loaded, keys, "box", with_box(keys.box), options)


def _restored(loaded: LoadedRun, keys: RestoreKeys, name: str, corrupt: Corrupt, options: Mapping[str, Any]) -> Save:
    """Where nothing was corrupted there is no row of corrupted images. `name` is what `model.corruption` calls the
    corruption: a model that was trained on another one gets a notice. `options` are those of the model's own method.
    """
    import torch

    from genlab.evaluation.corrupted import restore
    from genlab.nn.augment.corruptions import untrained_corruption

    advice = untrained_corruption(loaded.model, name)
    if advice:
        say(f"warning: {advice}")
    columns = _chosen(loaded, keys)
    found = []
    for image, *conditions in zip(*(column.split(keys.columns) for column in columns), strict=True):
        given = corrupt(image)
        restored = restore(loaded.model, given, conditions, options)
        found.append({"image": image, "corrupted": given.image, **restored})
    stacks = {key: torch.cat([each[key] for each in found]) for key in found[0]}
    if torch.equal(stacks["image"], stacks["corrupted"]):
        del stacks["corrupted"]
    return rows_above(keys, keys.columns, **stacks)


def _chosen(loaded: LoadedRun, keys: Keys) -> tuple[Tensor, ...]:
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
    "denoised sigma", needs=("Reconstructs or Denoises",), options_of="denoise",
)  # fmt: skip
INPAINT_COMMAND = ImageCommand(
    "inpaint", "Rows of images, above them with a square missing, above filled.", INPAINT, InpaintKeys, inpaint,
    "inpainted box", needs=("Reconstructs or Inpaints",), options_of="inpaint",
)  # fmt: skip

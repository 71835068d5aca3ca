"""What `denoise` and `inpaint` share: images of the data set or of one's own, corrupted and restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genlab.cli.images import drawing, user_images
from genlab.errors import ConfigError
from genlab.registry import Count, Fraction, NonNegativeFloat, NonNegativeInt

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

COMMON = {
    "n": "how many (16)", "split": "train, valid or test", "columns": "per row (8)", "seed": "of the noise (0)",
    "image": "a picture of your own, or a folder of them", "out": "PNG file",
}  # fmt: skip


@dataclass(frozen=True)
class Keys:
    """What both verbs take as key=value."""

    n: Count = 16
    split: Literal["train", "valid", "test"] = "test"
    columns: Count = 8
    seed: NonNegativeInt = 0
    image: str | None = None
    out: str | None = None


@dataclass(frozen=True)
class DenoiseKeys(Keys):
    sigma: NonNegativeFloat | None = None


@dataclass(frozen=True)
class InpaintKeys(Keys):
    box: Fraction = 0.4


def restore(
    loaded: LoadedRun, keys: Keys, name: str, corrupt: Callable[[Tensor], Tensor], paste: Callable[..., Tensor]
) -> None:
    """Rows of clean images, each above its row corrupted and its row restored, as one PNG.

    `paste(corrupted, restored)` says what is shown of the two.
    """
    import torch

    from genlab.core import rng
    from genlab.core.model import Reconstructs
    from genlab.reports.grid import image_grid

    path = drawing.destination(keys.out, loaded, name)
    drawing.require(loaded, Reconstructs)
    assert isinstance(loaded.model, Reconstructs)
    given = chosen(loaded, keys)
    columns = min(keys.columns, len(given[0]))
    rows = []
    rng.seed(keys.seed)
    with torch.no_grad():
        for image, *conditions in zip(*(column.split(columns) for column in given), strict=True):
            corrupted = corrupt(image)
            made = paste(corrupted, loaded.model.reconstruct(corrupted, *conditions))
            rows += [_filled(part.cpu(), columns) for part in (image, corrupted, made)]
    drawing.save(path, image_grid(torch.cat(rows), columns))


def _filled(row: Tensor, columns: int) -> Tensor:
    """A last, shorter row with white images at its end."""
    return row if len(row) == columns else row.new_ones(columns, *row.shape[1:]).index_copy(0, _index(row), row)


def _index(row: Tensor) -> Tensor:
    import torch

    return torch.arange(len(row))


def chosen(loaded: LoadedRun, keys: Keys) -> tuple[Tensor, ...]:
    """The images, with what the model's methods take beside them: the user's pictures, or the first of a split."""
    from genlab.runs import run_folder

    if keys.image is None:
        return loaded.data().split(keys.split).first(keys.n, ("image", *loaded.model.conditions))
    if loaded.model.conditions:
        raise ConfigError(
            f"a picture alone has no {' or '.join(loaded.model.conditions)}, which this model takes",
            "key image",
            "leave it out: images of the data set have it",
        )
    shape = tuple(run_folder.data_facts(loaded.record, loaded.path)["shape"])
    return (user_images.read(user_images.files_at(keys.image)[: keys.n], shape).to(loaded.runtime.device),)

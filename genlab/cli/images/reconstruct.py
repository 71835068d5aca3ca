"""genlab reconstruct: images of the data set, and their reconstructions by a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from genlab.cli.images.image_command import Columns, ImageCommand, PNGFile, Save, Seed, SplitName, rows_above
from genlab.registry import Count

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab reconstruct last
  genlab reconstruct last n=64 split=valid out=reconstructions.png
"""


@dataclass(frozen=True)
class Keys:
    n: Annotated[Count, Field(description="how many")] = 32
    split: SplitName = "test"
    columns: Columns = 8
    seed: Seed = 0
    out: PNGFile = None


def reconstruct(loaded: LoadedRun, keys: Keys) -> Save:
    """The first n images of a split, each row above the row of their reconstructions."""
    import torch

    from genlab.core.model import Reconstructs

    assert isinstance(loaded.model, Reconstructs)
    columns = loaded.data().split(keys.split).first(keys.n, ("image", *loaded.model.conditions))
    parts = zip(*(column.split(256) for column in columns), strict=True)
    made = torch.cat([loaded.model.reconstruct(*part) for part in parts])
    return rows_above(columns[0], made, columns=keys.columns)


COMMAND = ImageCommand(
    "reconstruct", "Rows of originals, each above its reconstructions.", EXAMPLES, Keys, reconstruct,
    "reconstructions split n", needs=("Reconstructs",),
)  # fmt: skip

"""genlab traverse: latent traversals, the effect of each number of a code on the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from genlab.cli.images.image_command import GridKeys, ImageCommand, Save, SplitName, Steps, decoded, grid
from genlab.registry import Count, PositiveFloat

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

STATISTICS = 500  # images whose codes say how far a dimension reaches
CAPTION = "standard deviations from the mean of each dimension"
EXAMPLES = """\
  genlab traverse last
  genlab traverse last n=3 dimensions=5 reach=3 out=traversals.png
"""


@dataclass(frozen=True)
class Keys(GridKeys):
    n: Annotated[Count, Field(description="images, one block of rows each")] = 1
    dimensions: Annotated[Count, Field(description="rows, those that vary most first")] = 10
    columns: Annotated[Steps, Field(description="images in a row")] = 11
    reach: Annotated[PositiveFloat, Field(description="standard deviations to each side")] = 2.0
    split: SplitName = "test"


def traverse(loaded: LoadedRun, keys: Keys) -> Save:
    """For each of n images of a split, a block of rows in which one number of its code changes."""
    import torch

    from genlab.evaluation.latent import codes, most_varying, traversals
    from genlab.reports.captions import Labels

    known = codes(loaded.model, loaded.data().split(keys.split).drawn(max(STATISTICS, keys.n)))
    rows = range(min(keys.n, len(known)))
    changed = torch.cat([traversals(known, row, keys.dimensions, keys.columns, keys.reach) for row in rows])
    names = [f"z{dimension + 1}" for dimension in most_varying(known, keys.dimensions)] * len(rows)
    places = [
        f"{each + 0:+.1f}" for each in torch.linspace(-keys.reach, keys.reach, keys.columns).round(decimals=1).tolist()
    ]
    return grid(decoded(loaded, changed.flatten(0, 1)), keys, keys.columns, labels=Labels(CAPTION, names, places))


COMMAND = ImageCommand(
    "traverse", "One number of a code changes along each row.", EXAMPLES, Keys, traverse, "traversals split n",
    needs=("Encodes", "Decodes"),
)  # fmt: skip

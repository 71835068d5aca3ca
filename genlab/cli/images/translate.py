"""genlab translate: pictures, and what a trained model turns them into."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genlab.cli.images import drawing, user_images
from genlab.cli.options import Parser, keywords
from genlab.errors import ConfigError, DataError
from genlab.registry import Count, NonNegativeInt
from genlab.utils.progress import say

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

KEYS = drawing.keys_text(
    input="a picture of your own or a folder of them; without it, pictures of the data set",
    direction="ab, or ba of a model that goes both ways (ab)",
    n="how many are shown (16)",
    split="train, valid or test",
    columns="per row (8)",
    seed="of the noise (0)",
    folder="where each translated picture goes, with input= (RUN/images/translated-...)",
    out="PNG file of inputs above outputs; with input=, a folder is as folder=",
)
EXAMPLES = """\
  genlab translate last
  genlab translate last direction=ba n=8
  genlab translate last input=sketches folder=photos out=both.png
"""
PART = 16  # pictures at a time


@dataclass(frozen=True)
class Keys:
    """What may be given as key=value."""

    input: str | None = None
    direction: Literal["ab", "ba"] = "ab"
    n: Count = 16
    split: Literal["train", "valid", "test"] = "test"
    columns: Count = 8
    seed: NonNegativeInt = 0
    folder: str | None = None
    out: str | None = None


def parser() -> Parser:
    return drawing.picture_parser("translate", "Rows of pictures, each above its translations.", KEYS, EXAMPLES)


def run(options: argparse.Namespace) -> int:
    keys = Keys(**keywords(Keys, options.options))
    translate(drawing.open_run(options), keys)
    return 0


def translate(loaded: LoadedRun, keys: Keys) -> None:
    """The first n pictures, in rows of `columns`, each row above that of their translations.

    Pictures of one's own are all translated and written one by one, whatever n.
    """
    import torch

    from genlab.core import rng
    from genlab.reports.grid import image_grid

    if keys.input is not None and keys.folder is None and keys.out is not None and not Path(keys.out).suffix:
        keys = replace(keys, folder=keys.out, out=None)
    path = drawing.destination(keys.out, loaded, drawing.named("translations", keys, "direction"))
    change = way(loaded, keys.direction)
    rng.seed(keys.seed)
    bad: list[DataError] = []
    with torch.no_grad():
        inputs, outputs = (
            of_the_data(loaded, keys, change) if keys.input is None else of_the_user(loaded, keys, change, bad)
        )
    if len(inputs):
        columns = min(keys.columns, len(inputs))
        whole = len(inputs) - len(inputs) % columns  # whole rows, so that the pairs stay above each other
        rows = zip(inputs[:whole].split(columns), outputs[:whole].split(columns), strict=True)
        drawing.save(path, image_grid(torch.cat([row for pair in rows for row in pair]), columns))
    complain(bad)


def way(loaded: LoadedRun, direction: str) -> Callable[[Tensor], Tensor]:
    """The model's function; ConfigError if it does not go that way."""
    from genlab.core.model import Translates, TranslatesBack

    if direction == "ab":
        drawing.require(loaded, Translates)
        assert isinstance(loaded.model, Translates)
        return loaded.model.translate
    if not isinstance(loaded.model, TranslatesBack):
        raise ConfigError(
            f"model '{loaded.config['name']}' does not translate back", f"run {loaded.path}", "leave direction=ba out"
        )
    return loaded.model.translate_back


def of_the_data(loaded: LoadedRun, keys: Keys, change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The first pictures of a split, and their translations."""
    import torch

    [given] = loaded.data().split(keys.split).first(keys.n, (keys.direction[0],))
    return given.cpu(), torch.cat([change(part).cpu() for part in given.split(PART)])


def of_the_user(
    loaded: LoadedRun, keys: Keys, change: Callable[[Tensor], Tensor], bad: list[DataError]
) -> tuple[Tensor, Tensor]:
    """Translate every picture of `input` and write it; the first n, and their translations.

    What is wrong with those that cannot be read goes into `bad`.
    """
    import torch

    from genlab.reports.grid import image_grid
    from genlab.runs import run_folder

    assert keys.input is not None
    files = user_images.files_at(keys.input, "input")
    shape = tuple(run_folder.data_facts(loaded.record, loaded.path)["shape"])
    folder = where(loaded, keys, files[0].parent)
    twice = len({file.stem for file in files}) < len(files)
    shown: list[tuple[Tensor, Tensor]] = [(torch.empty(0, *shape), torch.empty(0, *shape))]
    for start in range(0, len(files), PART):
        part, errors = user_images.readable(files[start : start + PART], shape)
        bad += errors
        if not part:
            continue
        given = torch.stack([*part.values()])
        made = change(given.to(loaded.runtime.device)).cpu()
        for file, image in zip(part, made, strict=True):
            drawing.save(folder / f"{file.name if twice else file.stem}.png", image_grid(image[None], gap=0, side=1))
        if sum(len(inputs) for inputs, _ in shown) < keys.n:
            shown.append((given, made))
    inputs, outputs = (torch.cat(each)[: keys.n] for each in zip(*shown, strict=True))
    return inputs, outputs


def where(loaded: LoadedRun, keys: Keys, own: Path) -> Path:
    """The folder of the translated pictures; ConfigError if it is that of the user's `own`, which would be lost."""
    if keys.folder is None:
        decides = Keys(input=keys.input, direction=keys.direction, seed=keys.seed)
        return loaded.path / "images" / drawing.named("translated", decides, "direction")
    folder = Path(keys.folder).expanduser()
    if folder.resolve() == own.resolve():
        raise ConfigError("pictures would overwrite their originals", f"key folder={folder}", "give another folder")
    return folder


def complain(bad: list[DataError]) -> None:
    """DataError if pictures could not be read; of several each has a line before."""
    if len(bad) == 1:
        raise bad[0]
    for error in bad:
        say(f"warning: {error}")
    if bad:
        raise DataError(f"{len(bad)} pictures cannot be read", "key input; see the lines above", "restore them")

"""genlab translate: images, and their translations by a trained model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from genlab.cli.images import user_images
from genlab.cli.images.image_command import (
    Columns,
    GridKeys,
    ImageCommand,
    Save,
    Seed,
    SplitName,
    Target,
    named,
    require,
    rows_above,
    write,
)
from genlab.errors import ConfigError, DataError
from genlab.registry import Count
from genlab.utils.paths import user_path
from genlab.utils.terminal import say

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab translate last
  genlab translate last direction=ba n=8
  genlab translate last input=sketches folder=photos out=both.png
"""
BATCH = 16
INPUT = "an image of your own, or a folder of them: all are translated; null: images of the data set"
DIRECTION = "ba: of a model that translates both ways"
FOLDER = "where each translated image goes, with input=; null: RUN/images/translated-..."


@dataclass(frozen=True)
class Keys(GridKeys):
    input: Annotated[str | None, Field(description=INPUT)] = None
    direction: Annotated[Literal["ab", "ba"], Field(description=DIRECTION)] = "ab"
    n: Annotated[Count, Field(description="how many are shown")] = 16
    split: SplitName = "test"
    columns: Columns = 8
    seed: Seed = 0
    folder: Annotated[str | None, Field(description=FOLDER)] = None


def translate(loaded: LoadedRun, keys: Keys) -> Save:
    """A grid of n images, rows of inputs above their translations, and above the targets of data whose pairs show the
    same thing; user images are also saved one by one."""
    function, errors = _function(loaded, keys.direction), list[DataError]()
    if keys.input is None:
        stacks = _of_the_data(loaded, keys, function)
    else:
        stacks = _of_the_user(loaded, keys, function, errors)

    def save(target: Target) -> None:
        if len(stacks["input"]):
            rows_above(keys, keys.columns, **stacks)(target)
        _complain(errors)

    return save


def _function(loaded: LoadedRun, direction: str) -> Callable[[Tensor], Tensor]:
    """The model's translation; ConfigError if it has none in this direction."""
    from genlab.core.model import TranslatesBack

    require(loaded, "Translates")
    model: Any = loaded.model
    if direction == "ab":
        return model.translate
    if not isinstance(model, TranslatesBack):
        raise ConfigError(
            f"model '{loaded.config['name']}' does not translate back", f"run {loaded.path}", "leave direction=ba out"
        )
    return model.translate_back


def _of_the_data(loaded: LoadedRun, keys: Keys, function: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Images of a split, their translations, and their targets where pairs are aligned."""
    import torch

    split = loaded.data().split(keys.split)
    inputs, targets = split.take(keys.n, (keys.direction[0], keys.direction[1]))
    outputs = torch.cat([function(part).cpu() for part in inputs.split(BATCH)])
    return {"input": inputs.cpu(), "output": outputs, **({"target": targets.cpu()} if split.table.aligned else {})}


def _of_the_user(
    loaded: LoadedRun, keys: Keys, function: Callable[[Tensor], Tensor], errors: list[DataError]
) -> dict[str, Tensor]:
    """Translate every image of `input` and write it; the first n, and their translations.

    Images that cannot be read are skipped and their errors appended to `errors`.
    """
    import torch

    from genlab.reports.grid import image_grid

    assert keys.input is not None
    files, shape = user_images.files_at(keys.input, "input"), user_images.shape_of(loaded)
    folder = _folder(loaded, keys, files[0].parent)
    same_stem = len({file.stem for file in files}) < len(files)
    shown = [(torch.empty(0, *shape), torch.empty(0, *shape))]
    for start in range(0, len(files), BATCH):
        images, unreadable = user_images.readable(files[start : start + BATCH], shape)
        errors += unreadable
        if not images:
            continue
        inputs = torch.stack([*images.values()])
        outputs = function(inputs.to(loaded.runtime.device)).cpu()
        for file, image in zip(images, outputs, strict=True):
            name = f"{file.name if same_stem else file.stem}.png"
            write(Target(folder.root, f"{folder.name}{name}"), image_grid(image[None], gap=0, side=1).png)
        if sum(len(each) for each, _ in shown) < keys.n:
            shown.append((inputs, outputs))
    all_inputs, all_outputs = (torch.cat(each)[: keys.n] for each in zip(*shown, strict=True))
    return {"input": all_inputs, "output": all_outputs}


def _folder(loaded: LoadedRun, keys: Keys, own: Path) -> Target:
    """Where the translated images go, before their names. ConfigError for the folder of the originals."""
    if keys.folder is None:
        decisive = Keys(input=keys.input, direction=keys.direction, seed=keys.seed)
        return Target(loaded.path, f"images/{named('translated direction', decisive)}/")
    folder = user_path(keys.folder, "key folder")
    if folder.resolve() == own.resolve():
        raise ConfigError("images would overwrite their originals", f"key folder={folder}", "give another folder")
    return Target(folder, "")


def _complain(errors: list[DataError]) -> None:
    """DataError if images could not be read; if there are several, a warning for each comes first."""
    if len(errors) == 1:
        raise errors[0]
    for error in errors:
        say(f"warning: {error}")
    if errors:
        raise DataError(f"{len(errors)} images cannot be read", "key input; see the lines above", "restore them")


COMMAND = ImageCommand(
    "translate",
    "Rows of images, each above its translations and, where there is one, its target.",
    EXAMPLES,
    Keys,
    translate,
    "translations direction",
)

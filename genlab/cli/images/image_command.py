"""The base of commands that make images of a trained model: from their arguments to the output file."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from annotated_types import Gt, Lt
from pydantic import Field

from genlab.cli.options import Parser, keywords, run_argument
from genlab.config.parameters import parameters
from genlab.errors import ConfigError, nearest, resource_error
from genlab.registry import Count, NonNegativeInt, signature_schema
from genlab.reports.image_folder import is_folder, new_folder
from genlab.utils.paths import user_path
from genlab.utils.terminal import echo, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from torch import Tensor

    from genlab.reports.captions import Labels
    from genlab.workflows.build import LoadedRun

# the command that shows a capability, suggested where a model lacks another
SHOWN_BY = {
    "Samples": "sample", "Reconstructs": "reconstruct", "Decodes": "interpolate", "Encodes": "encode",
    "Translates": "translate", "Denoises": "denoise", "Inpaints": "inpaint",
}  # fmt: skip

FILMS = (".gif", ".webp", ".mp4")  # suffixes

# keys that several commands take
Seed = Annotated[NonNegativeInt, Field(description="of the noise")]
Columns = Annotated[Count, Field(description="images in a row")]
SplitName = Annotated[Literal["train", "valid", "test"], Field(description="of the data set")]
Steps = Annotated[int, Gt(1), Lt(1000)]
Scale = Annotated[int, Gt(0), Lt(17), Field(description="how many times larger than usual")]
OwnImages = Annotated[str | None, Field(description="an image of your own, or a folder of them")]
PNGFile = Annotated[str | None, Field(description="PNG file; null: RUN/images/...")]


@dataclass(frozen=True, kw_only=True)
class GridKeys:
    """What every command that draws takes; listed after its own keys."""

    captions: Annotated[bool, Field(description="words around the images")] = True
    scale: Scale = 1
    out: PNGFile = None


@dataclass(frozen=True)
class Target:
    """Where a file goes: below `root`, a run folder or the user's own, no link is followed."""

    root: Path
    name: str
    hint: str = "give another out=..."  # if it cannot be written

    @property
    def path(self) -> Path:
        return self.root / self.name


Save = Callable[[Target], None]  # writes the file and prints its path


@dataclass(frozen=True)
class ImageCommand:
    """`genlab NAME RUN key=value ...`: `make(loaded, keys, **options)` returns what writes the file.

    `keys` is a frozen dataclass with `out` and, if random numbers are drawn, `seed`. `options` are the keyword
    parameters of the model's method `options_of` ("sample"), if it has one, which follow them on the command line.
    `file_name` is the first word of the file's name and the keys that follow it always; keys that are not at their
    default follow too.
    """

    name: str
    about: str
    examples: str
    keys: Callable[..., Any]
    make: Callable[..., Save]
    file_name: str
    needs: tuple[str, ...] = ()  # capabilities of the model; "A or B": one of them
    options_of: str = ""  # the model's method whose options are additional keys
    prepare: Callable[[LoadedRun, Any], LoadedRun] | None = None  # may replace the model, as the keys say
    suffixes: tuple[str, ...] = (".png",)
    folders: bool = False  # whether `out` may name a folder
    suffix: Callable[[Any], str] | None = None  # of a file without `out`, from the keys; None: the first of `suffixes`
    folder: str = "images/"

    def parser(self) -> Parser:
        more = f"  and what the model's own {self.options_of}() takes: genlab info RUN\n" if self.options_of else ""
        parse = Parser(self.name, self.about, self.examples, f"{keys_text(self.keys)}{more}")
        run_argument(parse)
        parse.add_argument("options", nargs="*", metavar="KEY=VALUE", help="see keys")
        parse.flags("checkpoint", "device", "plugin")
        return parse

    def run(self, arguments: argparse.Namespace) -> int:
        self.draw(arguments)
        return 0

    def draw(self, arguments: argparse.Namespace) -> Path:
        """Write the file, and return its path."""
        schema = signature_schema(self.keys)
        known = set(schema.model_fields)
        own = [item for item in arguments.options if not self.options_of or item.partition("=")[0] in known]
        keys = self.keys(**keywords(schema, own))  # says what is wrong before torch is loaded
        loaded = open_run(arguments)
        loaded = self.prepare(loaded, keys) if self.prepare else loaded
        require(loaded, *self.needs)
        options = self._options(loaded, schema, arguments.options) if self.options_of else {}
        target = destination(self, keys, loaded, options)
        import torch

        from genlab.core import rng

        rng.seed(getattr(keys, "seed", 0))
        with torch.no_grad():
            save = self.make(loaded, keys, **options)
        save(target)
        return target.path

    def _options(self, loaded: LoadedRun, own: type[BaseModel], arguments: list[str]) -> dict[str, Any]:
        """The options for the model's method; ConfigError for a key that neither it nor the command takes."""
        from pydantic import create_model

        from genlab.core.sampling import method_options

        options = method_options(loaded.model, self.options_of)
        both = create_model("keys", __base__=(own, options))
        if "label" in options.model_fields:
            names = class_names(loaded)
            arguments = [_class_numbers(word, names) for word in arguments]
        values = keywords(both, arguments, f"genlab {self.name} of model '{loaded.config['name']}'")
        return {key: value for key, value in values.items() if key in options.model_fields}


def keys_text(keys: Callable[..., Any]) -> str:
    rows = [(f"{each.name}={each.default.strip(chr(34))}", each) for each in parameters(signature_schema(keys))]
    width = max(len(key) for key, _ in rows)
    return "".join(
        f"  {key:<{width}}  {each.meaning}{f' ({each.allowed})' if each.choices else ''}\n" for key, each in rows
    )


def open_run(options: argparse.Namespace) -> LoadedRun:
    """The trained model that the arguments name."""
    from genlab.runs import run_folder

    path = run_folder.find_model(options.run)  # says what is wrong before torch is loaded
    from genlab.workflows.build import load

    loaded = load(path, device=options.device or "auto", plugins=options.plugin, checkpoint=options.checkpoint)
    if loaded.record.get("status") == "running":  # a model in a file of its own has none
        which = f"its {options.checkpoint} checkpoint" if options.checkpoint in ("newest", "best") else "the checkpoint"
        say(f"the run is training now; {which}, of step {loaded.step}, is used")
    return loaded


def require(loaded: LoadedRun, *needs: str) -> None:
    """ConfigError if the model lacks one of the capabilities, "A or B"; it says what the model can do instead."""
    from genlab.core.model import capabilities

    able = capabilities(loaded.model)
    missing = [need for need in needs if not {*need.split(" or ")} & {*able}]
    if missing:
        commands = [f"genlab {SHOWN_BY[name]}" for name in able if name in SHOWN_BY]
        raise ConfigError(
            f"model '{loaded.config['name']}' cannot do this: it lacks {' and '.join(missing)}",
            f"run {loaded.path}",
            f"try {' or '.join(commands)}" if commands else f"it can do: {', '.join(able) or 'nothing to be seen'}",
        )
    of_images = {"Samples", "Reconstructs", "Decodes"}
    if loaded.record["data"]["shape"][1:] == [1, 1] and {*" or ".join(needs).split(" or ")} & of_images:
        raise ConfigError(
            f"{loaded.record['data']['name']} holds points, not images",
            f"run {loaded.path}",
            f"try genlab eval RUN{' evaluator=points' if 'Samples' in able else ''}",
        )


def destination(command: ImageCommand, keys: Any, loaded: LoadedRun, options: dict[str, Any]) -> Target:
    """The file to write: `out`, which ends in one of the command's suffixes, else a name in the run folder."""
    if keys.out is None:
        name = named(command.file_name, keys, options)
        suffix = command.suffix(keys) if command.suffix else command.suffixes[0]
        return Target(loaded.path, f"{command.folder}{name}{suffix}")
    if command.folders and is_folder(keys.out):
        return Target(*new_folder(keys.out, "key out"))
    return user_target(keys.out, "out", command.suffixes)


def user_target(name: str, key: str, suffixes: tuple[str, ...]) -> Target:
    """The file that a user names with `key`. ConfigError for another suffix, a folder, a pipe or a device."""
    path = user_path(name, f"key {key}")
    if path.suffix.lower() not in suffixes:
        hint = f"give a name ending in {' or '.join(suffixes)}"
        raise ConfigError(f"'{name}' has another suffix than this command writes", f"key {key}", hint)
    if path.exists() and not path.is_file():
        raise ConfigError(f"'{name}' is not a regular file", f"key {key}", "give another name")
    return Target(path.parent, path.name, f"give another {key}=...")


def named(file_name: str, keys: Any, options: dict[str, Any] | None = None) -> str:
    """A file's name from a first word, the keys that stand after it, and whatever is not at its default:
    samples-n64-seed0-label3. Images made with other arguments are not overwritten."""
    first, *always = file_name.split()
    fields, values = type(keys).__dataclass_fields__, asdict(keys)
    changed = [key for key in values if key not in (*always, "out", "folder") and values[key] != fields[key].default]
    parts = [(key, values[key]) for key in (*always, *changed) if values[key] is not None]
    parts += sorted((options or {}).items())
    return "-".join([first, *(_name_part(key, value) for key, value in parts)])


def _name_part(key: str, value: Any) -> str:
    """A number with its key; a word as one part of a path, without a file's suffix: one that is not whole or has
    other signs gets a hash of the whole."""
    if not isinstance(value, str):
        return f"{key}{value}"
    word = re.sub(r"[^\w.]+", "-", re.sub(r"\.[A-Za-z]\w{1,4}$", "", value)[-60:]).strip("-")
    return word if word == value else f"{word}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"


def grid(
    images: Tensor, keys: GridKeys, columns: int | None = None, gap: int = 2, labels: Labels | None = None
) -> Save:
    """Images (N, C, H, W) in [0, 1] as one PNG, in rows of `columns` (None: nearly square), as large as the keys say,
    with words around it unless the keys say otherwise."""
    from genlab.reports.captions import Labels, labeled_grid

    shown = labels if labels and keys.captions else Labels()
    return lambda target: write(target, labeled_grid(images, columns, shown, gap, scale=keys.scale).png)


def rows_above(keys: GridKeys, columns: int, **stacks: Tensor) -> Save:
    """Stacks of images (N, C, H, W) as one PNG: a row of the first above those of the others, and so on; their names
    stand left of the rows."""
    import torch

    from genlab.reports.captions import Labels

    images = list(stacks.values())
    columns = min(columns, len(images[0]))
    blank = -len(images[0]) % columns  # white images that complete the last row
    filled = [torch.cat([stack.cpu(), stack.new_ones(blank, *stack.shape[1:]).cpu()]) for stack in images]
    rows = list(zip(*(stack.split(columns) for stack in filled), strict=True))
    names = [name.replace("_", " ") for name in stacks] * len(rows)
    return grid(torch.cat([row for group in rows for row in group]), keys, columns, labels=Labels(rows=names))


def class_names(loaded: LoadedRun) -> list[str]:
    """The names of the classes or attributes that the run was trained on, from its record; none if it had no labels."""
    from genlab.runs import run_folder

    data = run_folder.data_record(loaded.record, loaded.path)
    return data.get("label_names") or [str(each) for each in range(data["num_classes"] or 0)]


def _class_numbers(word: str, names: list[str]) -> str:
    """`label=faces` or `label=0,1,bag` with the numbers of classes, `[0,1,8]`; any other word as it is.

    A number is a class number; only where no class has that number is it looked up as a name. ConfigError for an
    unknown name.
    """
    key, _, value = word.partition("=")
    if key != "label" or not names or value.lower() == "null":
        return word
    known = {name.casefold(): str(index) for index, name in enumerate(names)}
    known |= {str(index): str(index) for index in range(len(names))}
    wanted = [each.strip() for each in value.strip("[]").split(",")]
    for each in wanted:
        if each.casefold() not in known and not each.lstrip("-").isdecimal():
            raise ConfigError(f"there is no class '{each[:60]}'", "key label", nearest(each, names))
    numbers = [known.get(each.casefold(), each) for each in wanted]
    return f"label={numbers[0]}" if len(numbers) == 1 else f"label=[{','.join(numbers)}]"


@contextmanager
def writing(target: Target) -> Iterator[BinaryIO]:
    """A file for the block to write, which is there whole or not at all; its path is printed.

    ResourceError or ConfigError if that fails, CheckpointError if it would go through a link in a run.
    """
    from genlab.utils.own_folder import OwnFolder

    try:
        target.root.mkdir(parents=True, exist_ok=True)
        with OwnFolder(target.root).replacing(target.name) as file:
            yield file
    except OSError as error:
        raise resource_error(error) or ConfigError(
            f"cannot write it ({error.strerror})", f"file {target.path}", target.hint
        ) from None
    echo(str(target.path))


def write(target: Target, content: bytes) -> None:
    """Write the file, whole or not at all, and print its path."""
    with writing(target) as file:
        file.write(content)


def decoded(loaded: LoadedRun, codes: Tensor) -> Tensor:
    """Codes (N, D) to images (N, C, H, W) on the host, in parts that fit in memory."""
    import torch

    model: Any = loaded.model
    return torch.cat([model.decode(part.to(loaded.runtime.device)).cpu() for part in codes.split(256)])

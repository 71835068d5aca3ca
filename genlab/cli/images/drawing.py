"""What the verbs that draw pictures share: opening a run, asking what its model can do, saving the PNG."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.cli.options import Parser, run_argument
from genlab.errors import ConfigError, ResourceError, resource_error

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.core.values import Picture
    from genlab.workflows.build import LoadedRun

# verb that shows a capability, to suggest another one in its place
SHOWN_BY = {
    "Samples": "sample", "Reconstructs": "reconstruct", "Decodes": "interpolate", "Encodes": "encode",
    "Translates": "translate",
}  # fmt: skip


def picture_parser(verb: str, about: str, keys: str, examples: str) -> Parser:
    parse = Parser(verb, about, examples)
    run_argument(parse)
    parse.add_argument("options", nargs="*", metavar="KEY=VALUE", help=keys)
    add_loading(parse)
    return parse


def add_loading(parse: Parser) -> None:
    parse.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:N")
    parse.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="outside code the run needs")


def open_run(options: argparse.Namespace) -> LoadedRun:
    """The trained model that the arguments name."""
    from genlab.runs import run_folder

    path = run_folder.find(options.run)  # says what is wrong before torch is loaded
    from genlab.workflows.build import load

    return load(path, device=options.device, plugins=options.plugin)


def require(loaded: LoadedRun, *wanted: type) -> None:
    """ConfigError if the model lacks a capability; it says what the model can do instead."""
    from genlab.core.model import Decodes, Reconstructs, Samples, capabilities

    missing = [capability.__name__ for capability in wanted if not isinstance(loaded.model, capability)]
    if missing:
        able = capabilities(loaded.model)
        verbs = [f"genlab {SHOWN_BY[name]}" for name in able if name in SHOWN_BY]
        raise ConfigError(
            f"model '{loaded.config['name']}' cannot do this: it lacks {' and '.join(missing)}",
            f"run {loaded.path}",
            f"try {' or '.join(verbs)}" if verbs else f"it can do: {', '.join(able) or 'nothing that is drawn'}",
        )
    if loaded.record["data"]["shape"][1:] == [1, 1] and set(wanted) & {Samples, Reconstructs, Decodes}:
        raise ConfigError(
            f"{loaded.record['data']['name']} holds points, which make no pictures",
            f"run {loaded.path}",
            "try genlab eval RUN evaluator=points",
        )


def named(first: str, keys: Any, *always: str) -> str:
    """A file's name: `first`, the keys `always`, and any other that is not at its default: samples-n64-seed0-label3.

    So what other arguments have made is not overwritten. `keys` is a dataclass; where things go is no part of it.
    """
    others = [
        field.name
        for field in dataclasses.fields(keys)
        if field.name not in (*always, "out", "folder") and getattr(keys, field.name) != field.default
    ]
    return "-".join([first, *(_told(key, getattr(keys, key)) for key in (*always, *others))])


def _told(key: str, value: Any) -> str:
    """A number with its key; a word, as one part of a path: of a long one the end, with a hash of what was changed."""
    if not isinstance(value, str):
        return f"{key}{value}"
    word = re.sub(r"[^\w.]+", "-", value[-60:]).strip("-")
    return word if word == value else f"{word}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"


def destination(out: str | None, loaded: LoadedRun, name: str, kinds: Sequence[str] = (".png",)) -> Path:
    """Where the picture goes: `out`, which ends in one of `kinds`, else `name` and the first in the run's images/."""
    if out is None:
        return loaded.path / "images" / f"{name}{kinds[0]}"
    path = Path(out).expanduser()
    if path.suffix.lower() not in kinds:
        what = "PNG file" if len(kinds) == 1 else "file that can be written"
        raise ConfigError(f"'{out}' is no {what}", "key out", f"give a name ending in {' or '.join(kinds)}")
    return path


def save(path: Path, picture: Picture) -> None:
    """Write the PNG and say where it is."""
    write(path, picture.png)


def write(path: Path, content: bytes) -> None:
    """Write the file, whole or not at all, and say where it is."""
    from genlab.utils import files

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, content)
    except OSError as error:
        known: ResourceError | None = resource_error(error)
        raise known or ConfigError(
            f"cannot write it ({error.strerror})", f"file {path}", "give another out=..."
        ) from None
    print(path)


def decoded(loaded: LoadedRun, codes: Tensor) -> Tensor:
    """Codes (N, D) to images (N, C, H, W) on the host, in parts that fit in memory."""
    import torch

    from genlab.core.model import Decodes

    assert isinstance(loaded.model, Decodes)
    return torch.cat([loaded.model.decode(part.to(loaded.runtime.device)).cpu() for part in codes.split(256)])


def keys_text(**meanings: Any) -> str:
    return "; ".join(f"{key}: {meaning}" for key, meaning in meanings.items())

"""genlab export: a trained model, or a part of it, as a file for use elsewhere."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from genlab.cli.images.image_command import Target, keys_text, open_run, user_target, write
from genlab.cli.options import Parser, keywords, run_argument
from genlab.errors import ConfigError
from genlab.utils.files import size_text
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from genlab.workflows.build import LoadedRun

EXAMPLES = """\
  genlab export last                                   the whole model in one file, which stands for the run
  genlab export last half=true out=vae.safetensors     then: genlab sample vae.safetensors
  genlab export last to=onnx part=decoder              for onnxruntime, in Python, C++, a browser, ...
  genlab export last to=onnx part=sampler steps=20 solver=heun      of flow_matching: noise to images
  genlab export last to=torch part=encoder             a program of torch.export, without genlab's code
"""
SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx", "torch": ".pt2"}
PART = "decoder, sampler, translator, back_translator, encoder, reconstructor, discriminator; null: the first it has"


@dataclass(frozen=True)
class Keys:
    to: Annotated[Literal["safetensors", "onnx", "torch"], Field(description="the format")] = "safetensors"
    part: Annotated[str | None, Field(description=PART)] = None
    half: Annotated[bool, Field(description="weights as float16, half the size; to=safetensors")] = False
    out: Annotated[str | None, Field(description="file; null: RUN/export/...")] = None


def parser() -> Parser:
    about = "Write a trained model, or a part of it, as a file, and compare it with the model."
    parse = Parser("export", about, EXAMPLES, f"{keys_text(Keys)}  and the options of a sampler: genlab info RUN\n")
    run_argument(parse)
    parse.add_argument("options", nargs="*", metavar="KEY=VALUE", help="see keys")
    parse.flags("checkpoint", "plugin")
    return parse


def run(options: argparse.Namespace) -> int:
    known = {field.name for field in fields(Keys)}
    keys = Keys(**keywords(Keys, [word for word in options.options if word.partition("=")[0] in known]))
    others = [word for word in options.options if word.partition("=")[0] not in known]
    if keys.to == "safetensors" and (others or keys.part):
        key = (others or ["part"])[0].partition("=")[0]
        hint = "leave it out, or use to=onnx or to=torch"
        raise ConfigError("a safetensors file holds the whole model", f"key {key}", hint)
    if keys.half and keys.to != "safetensors":
        raise ConfigError(f"to={keys.to} keeps float32", "key half", "leave it out")
    suffix = SUFFIXES[keys.to]
    target = user_target(keys.out, "out", (suffix,)) if keys.out else None
    options.device = "cpu"
    loaded = open_run(options)
    name, content, said = _content(loaded, keys, others)
    target = target or Target(loaded.path, f"export/{name}-{loaded.step:08d}{suffix}")
    write(target, content)
    echo(f"{size_text(len(content))}; {said}")
    return 0


def _content(loaded: LoadedRun, keys: Keys, others: list[str]) -> tuple[str, bytes, str]:
    """A name for the file, its content, and a sentence about it."""
    if keys.to == "safetensors":
        from genlab.workflows.export.model_file import dump

        return "model", dump(loaded, keys.half), f"weights: {loaded.weights}, {'float16' if keys.half else 'float32'}"
    from genlab.cli.options import keywords
    from genlab.core import rng
    from genlab.core.sampling import method_options
    from genlab.workflows.export.parts import part_of
    from genlab.workflows.export.programs import program

    chosen = keywords(method_options(loaded.model, "sample"), others, f"model '{loaded.config['name']}'")
    given: dict[str, Any] = {word.partition("=")[0]: chosen[word.partition("=")[0]] for word in others}
    rng.seed(0)
    name, part = part_of(loaded, keys.part, given)
    made = program(part, keys.to)
    inputs = ", ".join(f"{key} {tuple(value.shape[1:])}" for key, value in part.inputs.items())
    batch = "any batch" if made.any_batch else "one at a time"
    return name, made.content, (f"inputs: {inputs}, {batch}; output: {part.output}; "
                                f"largest difference to the model: {made.difference:.1e}")  # fmt: skip

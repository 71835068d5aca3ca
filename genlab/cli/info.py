"""genlab info: one model, data set, run, ...: where it comes from, its parameters, what it can do."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.cli.options import Parser
from genlab.config.overrides import leaves
from genlab.config.parameters import parameters
from genlab.config.yaml_comments import MODEL_CHOICES, comments, first_comment, missing, options, values
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.utils.tables import show_records
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.registry import Registry

EXAMPLES = """\
  genlab info dcgan                     the same as model=dcgan
  genlab info model=vae model.network.hidden=[500,300]
  genlab info dataset=celeba
  genlab info optimizer=adamw
  genlab info experiment=vae_mnist
  genlab info last                      the model of a run: its parameters, and what genlab sample and others take
"""
SHOWN = ("model", "dataset", "optimizer", "schedule", "evaluator", "logger")
FILES = ("experiment", "sweep", "workload", "trainer", "recipe", "debug")  # their files say it all
KNOWN = (*SHOWN, *FILES)
COLUMNS = ("parameter", "value", "allowed", "meaning")
WIDTH = 80  # characters of a line, for any terminal
SHAPES = ((1, 32, 32), (3, 64, 64))  # small images on which a model is built to be described


def parser() -> Parser:
    parse = Parser("info", "Describe one thing that can be chosen, or the model of a run.", EXAMPLES)
    parse.add_argument("overrides", nargs="+", metavar="GROUP=NAME | RUN")
    parse.flags("config-dir", "plugin", "json")
    return parse


def run(arguments: argparse.Namespace) -> int:
    from genlab.config import compose
    from genlab.registry import discover, load_plugins

    folders = [compose.search_path(), *compose.private_folders(arguments.config_dir)]
    first = arguments.overrides[0]
    group, equals, option = first.partition("=")
    if group not in KNOWN or not equals:
        found = _named(first, folders)
        if found is None:
            return _run(first, arguments)
        group, option = found
    files = options(group, folders)
    if group in FILES:
        if option not in files:
            raise ConfigError(f"unknown {group} '{option}'", "genlab info", nearest(option, files))
        return _file(files[option], arguments.json)
    # a recipe holds numbers for one pair of model and data set: not what describes either
    named = {word.partition("=")[0] for word in arguments.overrides}
    absent = [key for key in missing(files.get(option), folders) if f"{group}.{key}" not in named]
    words = ["recipe=null", *(f"{group}.{key}=PATH" for key in absent), f"{group}={option}", *arguments.overrides[1:]]
    composed = compose.compose(words, arguments.config_dir, arguments.plugin)
    compose.precheck(composed.config, arguments.plugin)
    discover()
    load_plugins(arguments.plugin)
    config = compose.check(composed.config)
    notes = comments(files[option], folders)
    section = config[group] | dict.fromkeys(absent, "???")
    specs = {group: (section, notes)}
    if group in ("evaluator", "logger"):
        specs = {f"{group}.{key}": (spec, {k.removeprefix(f"{key}."): v for k, v in notes.items()})
                 for key, spec in sorted(section.items()) if spec}  # fmt: skip
    if arguments.json:
        return _print_json(group, specs)
    _say(f"{group}={option}: {first_comment(files[option])}", "")
    for where, (spec, about) in specs.items():
        _describe(group, spec, where, about)
    if group == "model":
        _say(f"trains with {', '.join(f'{key}={composed.choices[key]}' for key in MODEL_CHOICES)}", "")
        _model(section)
    return 0


def _named(word: str, folders: Sequence[Path]) -> tuple[str, str] | None:
    """The group and option that `word` means: `vae` for model=vae. None if it can only be a run.

    A name of several groups means the first of KNOWN; a line names the others.
    """
    from genlab.runs import run_folder

    group, equals, _ = word.partition("=")
    if word in KNOWN or (equals and not run_folder.is_run(Path(word))):
        raise ConfigError(
            f"'{word[:60]}' does not say what to describe",
            "genlab info",
            f"write GROUP=NAME with GROUP one of {', '.join(KNOWN)}" if group in KNOWN else nearest(group, KNOWN),
        )
    found = [group for group in KNOWN if word in options(group, folders)]
    if len(found) > 1:
        _say(f"also: {', '.join(f'genlab info {group}={word}' for group in found[1:])}", "")
    return (found[0], word) if found else None


def _file(path: Path, json: bool) -> int:
    """A file that says it all, or its keys."""
    if json:
        show_records([{"parameter": key, "value": value} for key, value in leaves(values(path, [])).items()], json=True)
    else:
        echo(*path.read_text("utf-8").rstrip().splitlines())
    return 0


def _print_json(group: str, specs: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]]) -> int:
    """Every parameter as a record."""
    table = _registries()[group]
    rows = (row for where, (spec, notes) in specs.items() for row in _rows(spec, where, "", table, notes))
    show_records([dict(zip(COLUMNS, row, strict=True)) for row in rows], json=True)
    return 0


def _run(run: str, arguments: argparse.Namespace) -> int:
    """The model of a run, with the run's own values."""
    from genlab.config import compose
    from genlab.runs import run_folder

    path = run_folder.find(run)
    from genlab.workflows.build import load

    loaded = load(path, device="cpu", plugins=arguments.plugin)
    folders = [compose.search_path()]
    files = options("model", folders)
    name = loaded.config["name"]
    notes = comments(files[name], folders) if name in files else {}
    if arguments.json:
        return _print_json("model", {"model": (loaded.config["model"], notes)})
    _say(f"run {path}: model {name}, step {loaded.step}", "")
    _describe("model", loaded.config["model"], "model", notes)
    _abilities(loaded.model)
    return 0


def _registries() -> dict[str, Registry]:
    from genlab.registry import DATASETS, EVALUATORS, LOGGERS, MODELS, OPTIMIZERS, SCHEDULES

    tables = (MODELS, DATASETS, OPTIMIZERS, SCHEDULES, EVALUATORS, LOGGERS)
    return dict(zip(SHOWN, tables, strict=True))


def _say(*paragraphs: str, indent: str = "") -> None:
    """Print paragraphs of text, folded."""
    for each in paragraphs:
        folded = textwrap.wrap(each, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        echo(*(folded or [""]))


def _describe(group: str, spec: Mapping[str, Any], where: str, notes: Mapping[str, str]) -> None:
    table = _registries()[group]
    target = table.get(spec["name"])
    texts = [
        inspect.getdoc(sys.modules[target.__module__]) if group in ("model", "dataset") else None,
        inspect.getdoc(target),
    ]
    for text in filter(None, texts):
        for paragraph in text.split("\n\n"):
            _say(paragraph, "")
    for name, value, allowed, meaning in _rows(spec, where, "", table, notes):
        _parameter(f"{name} = {value}", allowed, meaning)
    echo("")


def _parameter(title: str, allowed: str, meaning: str) -> None:
    """A parameter with its value, and below it what it may be and what it means."""
    _say(title, indent="  ")
    about = "; ".join(filter(None, (meaning, allowed and f"({allowed})")))
    if about:
        _say(f"    {about.replace('; (', ' (')}", indent="    ")


def _rows(spec: Mapping[str, Any], where: str, path: str, table: Any, notes: Mapping[str, str]) -> Iterator[list[str]]:
    """A line per parameter; the own parameters of a network or a corruption follow the key that holds it."""
    from genlab.registry import CORRUPTIONS, NETWORKS

    allowed = {each.name: each.allowed for each in parameters(table.schema(spec["name"]))}
    for key, value in spec.items():
        if key == "name" and not path:
            continue
        inner = f"{path}{key}"
        named = str(value.get("name")) if isinstance(value, dict) else ""
        own = next((each for each in (NETWORKS, CORRUPTIONS) if named in each), None)
        if own:
            yield [f"{where}.{inner}", named, f"a {own.kind}", notes.get(inner, "")]
            yield from _rows(value, where, f"{inner}.", own, notes)
        elif key != "name":
            text = json.dumps(value, ensure_ascii=False)
            yield [f"{where}.{inner}", text, allowed.get(key, ""), notes.get(inner, "")]


def _model(spec: Mapping[str, Any]) -> None:
    """Build it on a small shape: its networks, its phases and what each logs, what it can do."""
    model, shape = _built(spec)
    if model is None:
        return
    echo(f"on {shape[0]}×{shape[1]}×{shape[2]} images:")
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    rows = [[f"  network {name}", f"{count:,} parameters"] for name, count in counts.items() if count]
    rows += [
        [f"  phase {phase.name}", f"logs {', '.join(logged) or 'nothing'}"] for phase, logged in _phases(model, shape)
    ]
    width = max(len(row[0]) for row in rows)
    for name, what in rows:
        _say(f"{name:<{width}}  {what}", indent="    ")
    _abilities(model)


def _abilities(model: Model) -> None:
    """The inputs and capabilities of the model, and the options of `sample` and other methods."""
    from genlab.core.model import capabilities
    from genlab.core.sampling import OPEN_METHODS, method_options

    _say(f"reads   {', '.join(model.inputs)}")
    _say(f"can do  {', '.join(capabilities(model)) or 'nothing yet'}", indent="    ")
    for method in OPEN_METHODS:
        found = parameters(method_options(model, method))
        if found:
            echo("")
            echo(f"genlab {method} RUN KEY=VALUE")
            for each in found:
                _parameter(f"  {each.name}={each.default}", each.allowed, each.meaning)


def _built(spec: Mapping[str, Any]) -> tuple[Any, tuple[int, int, int]]:
    from genlab.registry import MODELS

    problem = ""
    for shape in SHAPES:
        try:
            return MODELS.build(spec, "model", image_shape=shape, num_classes=10), shape
        except GenlabError as error:  # not every family takes every size; it says why
            problem = str(error)
    _say(f"cannot be built on small images: {problem}")
    return None, SHAPES[0]


def _phases(model: Any, shape: tuple[int, int, int]) -> list[tuple[Any, list[str]]]:
    """Each phase with the names of what it logs, found by one step on noise."""
    import torch

    columns = {name: torch.rand(8, *shape) for name in ("image", "a", "b")} | {"label": torch.arange(8)}
    found = []
    for phase in model.phases():
        try:
            logged = list(phase.values(*model.shared_forward(*(columns[name] for name in model.inputs))))
        except (KeyError, RuntimeError, ValueError):  # a column or shape that only this model knows
            logged = []
        found.append((phase, logged))
    return found

"""genlab info: one model, data set, run, ...: where it comes from, its parameters, what it can do."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from genlab.cli.options import Parser
from genlab.config.parameters import parameters
from genlab.config.yaml_comments import MODEL_CHOICES, comments, first_comment, missing, options
from genlab.errors import ConfigError, GenlabError, nearest
from genlab.utils.tables import show
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.registry import Registry

EXAMPLES = """\
  genlab info model=dcgan
  genlab info model=vae model.network.hidden=[500,300]
  genlab info dataset=celeba
  genlab info optimizer=adamw
  genlab info experiment=vae_mnist
  genlab info last                      the model of a run: its parameters, and what genlab sample and others take
"""
SHOWN = ("model", "dataset", "optimizer", "schedule", "evaluator", "logger")
FILES = ("experiment", "sweep", "workload", "trainer", "recipe", "debug")  # their files say it all
SHAPES = ((1, 32, 32), (3, 64, 64))  # small images on which a model is built to be described


def parser() -> Parser:
    parse = Parser("info", "Describe one thing that can be chosen, or the model of a run.", EXAMPLES)
    parse.add_argument("overrides", nargs="+", metavar="GROUP=NAME | RUN")
    parse.flags("config-dir", "plugin")
    return parse


def run(arguments: argparse.Namespace) -> int:
    from genlab.config import compose
    from genlab.registry import discover, load_plugins

    group, equals, option = arguments.overrides[0].partition("=")
    known = (*SHOWN, *FILES)
    if not equals and group not in known:
        return _run(group, arguments.plugin)
    if group not in known or not option:
        raise ConfigError(
            f"'{arguments.overrides[0][:60]}' does not say what to describe",
            "genlab info",
            f"write GROUP=NAME with GROUP one of {', '.join(known)}" if group in known else nearest(group, known),
        )
    folders = [compose.search_path(), *compose.private_folders(arguments.config_dir)]
    files = options(group, folders)
    if group in FILES:
        if option not in files:
            raise ConfigError(f"unknown {group} '{option}'", "genlab info", nearest(option, files))
        echo(*files[option].read_text("utf-8").rstrip().splitlines())
        return 0
    # a recipe holds numbers for one pair of model and data set: not what describes either
    named = {word.partition("=")[0] for word in arguments.overrides}
    absent = [key for key in missing(files.get(option), folders) if f"{group}.{key}" not in named]
    words = ["recipe=null", *(f"{group}.{key}=PATH" for key in absent), *arguments.overrides]
    composed = compose.compose(words, arguments.config_dir, arguments.plugin)
    compose.precheck(composed.config, arguments.plugin)
    discover()
    load_plugins(arguments.plugin)
    config = compose.check(composed.config)
    notes = comments(files[option], folders)
    echo(f"{group}={option}: {first_comment(files[option])}", "")
    section = config[group] | dict.fromkeys(absent, "???")
    if group in ("evaluator", "logger"):
        for key in sorted(section):
            if section[key]:
                _describe(
                    group, section[key], f"{group}.{key}", {k.removeprefix(f"{key}."): v for k, v in notes.items()}
                )
        return 0
    _describe(group, section, group, notes)
    if group == "model":
        echo(f"trains with {', '.join(f'{key}={composed.choices[key]}' for key in MODEL_CHOICES)}", "")
        _model(section)
    return 0


def _run(run: str, plugins: list[str]) -> int:
    """The model of a run, with the run's own values."""
    from genlab.config import compose
    from genlab.runs import run_folder

    path = run_folder.find(run)
    from genlab.workflows.build import load

    loaded = load(path, device="cpu", plugins=plugins)
    folders = [compose.search_path()]
    files = options("model", folders)
    name = loaded.config["name"]
    echo(f"run {path}: model {name}, step {loaded.step}", "")
    _describe("model", loaded.config["model"], "model", comments(files[name], folders) if name in files else {})
    _abilities(loaded.model)
    return 0


def _registries() -> dict[str, Registry]:
    from genlab.registry import DATASETS, EVALUATORS, LOGGERS, MODELS, OPTIMIZERS, SCHEDULES

    tables = (MODELS, DATASETS, OPTIMIZERS, SCHEDULES, EVALUATORS, LOGGERS)
    return dict(zip(SHOWN, tables, strict=True))


def _describe(group: str, spec: Mapping[str, Any], where: str, notes: Mapping[str, str]) -> None:

    table = _registries()[group]
    target = table.get(spec["name"])
    texts = [
        inspect.getdoc(sys.modules[target.__module__]) if group in ("model", "dataset") else None,
        inspect.getdoc(target),
    ]
    echo(*(line for text in texts if text for line in (*text.splitlines(), "")))
    rows = list(_rows(spec, where, "", table, notes))
    if rows:
        show(["parameter", "value", "may be", "meaning"], rows)
        echo("")


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
    echo(*(f"{name:<{width}}  {what}" for name, what in rows))
    _abilities(model)


def _abilities(model: Model) -> None:
    """The inputs and capabilities of the model, and the options of `sample` and other methods."""
    from genlab.core.model import capabilities
    from genlab.core.sampling import OPEN_METHODS, method_options

    echo(f"reads   {', '.join(model.inputs)}", f"can do  {', '.join(capabilities(model)) or 'nothing yet'}")
    for method in OPEN_METHODS:
        found = parameters(method_options(model, method))
        if found:
            echo("")
            rows = [[f"{each.name}=", each.default, each.allowed, each.meaning] for each in found]
            show([f"genlab {method} RUN", "default", "may be", "meaning"], rows)


def _built(spec: Mapping[str, Any]) -> tuple[Any, tuple[int, int, int]]:
    from genlab.registry import MODELS

    problem = ""
    for shape in SHAPES:
        try:
            return MODELS.build(spec, "model", image_shape=shape, num_classes=10), shape
        except GenlabError as error:  # not every family takes every size; it says why
            problem = str(error)
    echo(f"cannot be built on small images: {problem}")
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

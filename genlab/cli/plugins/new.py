"""genlab new: a working plug-in in the current folder, with its YAML and its test."""

from __future__ import annotations

import argparse
import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from genlab.cli.options import Parser
from genlab.config import trusted
from genlab.errors import ConfigError
from genlab.utils.own_folder import OwnFolder
from genlab.utils.terminal import echo

EXAMPLES = """\
  genlab new model my_model && genlab train model=my_model dataset=digits trainer.steps=20
  genlab new dataset my_data && genlab train dataset=my_data
  genlab new evaluator my_measure && genlab eval last evaluator=my_measure
"""
TEMPLATES = Path(__file__).parent / "templates"
NEXT = {
    "model": ("genlab info {name}", "genlab train model={name} dataset=digits trainer.steps=500"),
    "dataset": ("genlab info {name}", "genlab train model=vae dataset={name} trainer.steps=500"),
    "evaluator": ("genlab train evaluator={name} trainer.steps=500", "genlab eval last evaluator={name}"),
}


def parser() -> Parser:
    about = "Write a plug-in that works: NAME.py, configs/KIND/NAME.yaml and test_NAME.py, in the current folder."
    parse = Parser("new", about, EXAMPLES)
    parse.add_argument("kind", choices=sorted(NEXT), metavar="KIND", help="model, dataset or evaluator")
    parse.add_argument("name", metavar="NAME", help="of the Python module and of the option: my_model")
    return parse


def run(arguments: argparse.Namespace) -> int:
    kind, name, folder = arguments.kind, arguments.name, Path.cwd()
    _check_name(kind, name)
    written = {
        f"{name}.py": _filled(f"{kind}.py.txt", name),
        f"{trusted.CONFIGS}/{kind}/{name}.yaml": _filled(f"{kind}.yaml.txt", name),
        f"test_{name}.py": _filled(f"test_{kind}.py.txt", name),
    }
    for file in written:
        if (folder / file).exists() or (folder / file).is_symlink():
            raise ConfigError(f"'{file}' exists", f"folder {folder}", "choose another name, or remove it")
    (folder / trusted.CONFIGS / kind).mkdir(parents=True, exist_ok=True)
    for file, text in written.items():
        OwnFolder(folder).write(file, text.encode())
        echo(f"wrote   {file}")
    trusted.trust(folder, name)
    echo(f"trusted {name}.py in this folder: commands that are called here load it (elsewhere: --plugin)", "", "Next:")
    echo(*(f"  {command.format(name=name)}" for command in NEXT[kind]), f"  pytest test_{name}.py")
    return 0


def _check_name(kind: str, name: str) -> None:
    """ConfigError for a name that is none in Python, or that something has."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"'{name[:60]}' is no name of a module", "genlab new", "use lower case letters, digits and _: my_model"
        )
    from genlab.config import compose, overrides

    if name in overrides.groups([compose.search_path()]).get(kind, ()):
        raise ConfigError(f"genlab has a {kind} '{name}' already", "genlab new", f"see `genlab info {kind}={name}`")
    if not Path(f"{name}.py").exists() and find_spec(name):
        raise ConfigError(f"there is a Python module '{name}' already", "genlab new", "choose another name")


def _filled(template: str, name: str) -> str:
    """The text of a template with the name, and with that of its class in camel case."""
    words = "".join(word.capitalize() for word in name.split("_"))
    return (TEMPLATES / template).read_text("utf-8").replace("NAME", name).replace("CLASS", words)

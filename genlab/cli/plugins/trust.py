"""genlab trust: consent to load a plug-in of the current folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from genlab.cli.options import Parser
from genlab.config import trusted
from genlab.errors import ConfigError, nearest
from genlab.utils.terminal import echo

EXAMPLES = """\
  genlab trust my_model       my_model.py, in this folder
"""


def parser() -> Parser:
    about = "Trust a plug-in of the current folder: every command that is called here loads it, and so runs its code."
    parse = Parser("trust", about, EXAMPLES)
    parse.add_argument("names", nargs="+", metavar="NAME")
    return parse


def run(arguments: argparse.Namespace) -> int:
    folder = Path.cwd()
    for name in arguments.names:
        if not name.isidentifier() or not (folder / f"{name}.py").is_file():
            modules = [path.stem for path in folder.glob("*.py")]
            raise ConfigError(f"there is no plug-in '{name[:60]}'", f"folder {folder}", nearest(name, modules))
    for name in arguments.names:
        trusted.trust(folder, name)
        echo(f"trusted: {folder / name}.py")
    return 0

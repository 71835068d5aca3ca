"""The command `genlab`: finds the verb, runs it, and turns whatever goes wrong into one line and an exit code.

Importing this module, and `genlab --help`, load neither torch nor Hydra nor rich.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence

from genlab import __version__
from genlab.cli import COMMANDS, HIDDEN
from genlab.errors import ConfigError, nearest
from genlab.utils.exit_codes import guarded

HELP = """\
usage: genlab VERB [arguments]        genlab VERB --help shows a verb's own

A command-line lab for unsupervised and generative image models.

{verbs}

examples:
  genlab train                                    a VAE on built-in digits, no download
  genlab train model=dcgan dataset=mnist trainer.epochs=5
  genlab train -m model=vae,autoencoder seed=1,2,3
  genlab sample last n=64

options:
  -h, --help     this text
  --version      genlab's version
  --debug        on an error, the whole traceback

exit codes: 0 done, 1 bug, 2 command or configuration, 3 data, 4 checkpoint, 5 disk or memory,
6 diverged, 7 run folder in use, 8 some jobs of a sweep failed, 130/143 stopped and resumable
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors are one line on stderr, unless --debug asks for more."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without Greek letters still gets its table
    words = [argument for argument in arguments if argument != "--debug"]
    return guarded(lambda: _dispatch(words), debug)


def _dispatch(arguments: list[str]) -> int:
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {name:<12} {what}" for name, (_, what) in COMMANDS.items())))
        return 0
    if verb == "--version":
        print(f"genlab {__version__}")
        return 0
    if verb not in COMMANDS | HIDDEN:
        raise ConfigError(f"unknown verb {verb[:60]!r}", "command line", nearest(verb, COMMANDS))
    module = importlib.import_module(f"genlab.cli.{(COMMANDS | HIDDEN)[verb][0]}")
    options = module.parser().parse(rest)
    return int(module.run(options) or 0)

"""The command `genlab`: finds its module, runs it, and turns every error into one line and an exit code.

Importing this module, and `genlab --help`, load neither torch nor Hydra nor rich.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

from genlab import __version__
from genlab.cli import COMMANDS, load_command
from genlab.distributed import cpu_threads
from genlab.errors import ConfigError, nearest
from genlab.utils.exit_codes import ExitCode
from genlab.utils.signals import Interrupted
from genlab.utils.terminal import echo, open_streams

HELP = """\
usage: genlab COMMAND [arguments]     genlab COMMAND --help shows its own

A command-line lab for unsupervised and generative image models.

{commands}

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
6 diverged, 7 run folder in use, 8 some jobs of a sweep or some reproductions failed, 130/143 stopped and resumable
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Errors are one line on stderr, unless --debug asks for more."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    open_streams()
    cpu_threads.wait_without_spinning()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal without Greek letters
    words = [argument for argument in arguments if argument != "--debug"]
    exit = ExitCode(debug)
    try:
        with exit:
            command = _command(words)
            if command is not None:
                exit.code = int(command.run(command.parser().parse(words[1:])) or 0)
    except Interrupted as late:  # between the end of the command and that of `with`
        exit.end(late)
    return exit.code


def _command(words: list[str]) -> Any:
    """The command as `load_command` returns it; None after --help or --version."""
    name = words[0] if words else "--help"
    if name in ("-h", "--help", "help"):
        commands = "\n".join(f"  {name:<12} {what}" for name, (_, what) in COMMANDS.items())
        echo(*HELP.format(commands=commands).split("\n"))
        return None
    if name == "--version":
        echo(f"genlab {__version__}")
        return None
    if name == "__complete":  # called by the script of `genlab completion`
        from genlab.cli.completion import candidates

        echo(*candidates(" ".join(words[1:])))
        return None
    if name not in COMMANDS:
        raise ConfigError(f"unknown command {name[:60]!r}", "command line", nearest(name, COMMANDS))
    return load_command(name)

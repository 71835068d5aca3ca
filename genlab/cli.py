"""The command `genlab`: finds the verb, runs it, and turns whatever goes wrong into one line and an exit code.

Importing this module, and `genlab --help`, load neither torch nor Hydra nor rich.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence

from genlab import __version__
from genlab.errors import (
    LAUNCHED,
    PEER_GONE,
    ConfigError,
    GenlabError,
    PeerError,
    Stopped,
    nearest,
    resource_error,
)
from genlab.signals import Interrupted
from genlab.verbs import HIDDEN, VERBS

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
    with contextlib.suppress(ValueError):  # only the main thread may; a run replaces this by its own while it lasts
        signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _dispatch([argument for argument in arguments if argument != "--debug"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `genlab list | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except BaseException as error:
        if debug:
            traceback.print_exc()
        return _report(error, debug)


def _terminated(signum: int, frame: object) -> None:
    raise Interrupted(signum)


def _dispatch(arguments: list[str]) -> int:
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(f"  {name:<12} {what}" for name, (_, what) in VERBS.items())))
        return 0
    if verb == "--version":
        print(f"genlab {__version__}")
        return 0
    if verb not in VERBS | HIDDEN:
        raise ConfigError(f"unknown verb {verb[:60]!r}", "command line", nearest(verb, VERBS))
    module = importlib.import_module(f"genlab.verbs.{(VERBS | HIDDEN)[verb][0]}")
    options = module.parser().parse(rest)
    return int(module.run(options) or 0)


def _report(error: BaseException, debug: bool) -> int:
    """One line for any exception; the code it stands for."""
    if isinstance(error, SystemExit):  # argparse's --help
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        signum = error.signum if isinstance(error, Interrupted) else signal.SIGINT
        error = Stopped(signum, "stopped", "", "start it again, or resume with: genlab resume RUN")
    known = error if isinstance(error, GenlabError) else resource_error(error)
    if known is None:
        kept = "see above" if debug else f"traceback saved in {_save_traceback(error)}"
        text = " ".join(str(error).split())[:200]
        known = GenlabError(f"this is a bug in genlab ({type(error).__name__}: {text})", kept, "please report it")
    word = "stopped" if isinstance(known, Stopped) else "error"
    if LAUNCHED in os.environ and isinstance(known, PeerError):
        return PEER_GONE
    # every rank would say the same; of those that genlab has started it hears all and shows one
    if os.environ.get("RANK", "0") == "0" or LAUNCHED in os.environ or known.code in (1, 5, 7):
        line = " ".join(str(known).split())
        safe = "".join(letter if letter.isprintable() else "?" for letter in line)
        print(f"genlab: {word}: {safe}", file=sys.stderr)
    return known.code


def _save_traceback(error: BaseException) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="genlab-", suffix=".log", delete=False) as file:
            traceback.print_exception(error, file=file)
        return file.name
    except OSError:
        return "no file (use --debug)"

"""genlab resume: go on with a run from its newest whole checkpoint."""

from __future__ import annotations

import argparse

from genlab.verbs.options import Parser, run_argument

EXAMPLES = """\
  genlab resume last
  genlab resume outputs/vae-mnist/2026-11-20_14-03-12
  genlab resume last trainer.epochs=40          longer than it was meant to be
"""


def parser() -> Parser:
    parse = Parser("resume", "Go on with a run, with the configuration stored in it.", EXAMPLES)
    run_argument(parse)
    parse.add_argument("overrides", nargs="*", metavar="OVERRIDES", help="key=value to change, e.g. trainer.steps")
    parse.add_argument("--allow-change", action="store_true", help="go on although configuration or data changed")
    return parse


def run(options: argparse.Namespace) -> int:
    from genlab import runs

    runs.find(options.run)  # says what is wrong before torch is loaded
    from genlab.training import resume

    resume(options.run, options.overrides, allow_change=options.allow_change)
    return 0

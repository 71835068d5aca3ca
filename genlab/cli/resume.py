"""genlab resume: continue a run from its newest complete checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from genlab.cli.options import Parser, run_argument

EXAMPLES = """\
  genlab resume last
  genlab resume outputs/vae-mnist/2026-11-20_14-03-12
  genlab resume last trainer.epochs=40          longer than planned
"""


def parser() -> Parser:
    parse = Parser("resume", "Continue a run with its stored configuration.", EXAMPLES)
    run_argument(parse, exported=False)
    parse.add_argument("overrides", nargs="*", metavar="OVERRIDES", help="key=value to change, e.g. trainer.steps")
    parse.add_argument("--allow-change", action="store_true", help="resume although configuration or data changed")
    parse.flags("plugin", "device")
    return parse


def run(options: argparse.Namespace) -> int:
    from genlab.config import compose
    from genlab.distributed import launcher, ranks
    from genlab.runs import run_folder

    ranks.from_environment()  # reports errors before torch is loaded
    path = str(run_folder.find(options.run))  # "last" may soon be another run
    count = launcher.wanted(compose.override_stored(run_folder.read_config(Path(path)), options.overrides))
    if count > 1:
        change = ["--allow-change"] if options.allow_change else []
        flags = compose.flags(plugins=options.plugin, device=options.device)
        return launcher.launch(count, ["resume", path, *change, *flags, *options.overrides])
    from genlab.workflows.train import resume

    resume(options.run, options.overrides, options.allow_change, options.plugin, options.device)
    return 0

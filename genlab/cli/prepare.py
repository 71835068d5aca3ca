"""genlab prepare: decode a data set into its store beforehand."""

from __future__ import annotations

import argparse
import time

from genlab.cli.options import Parser
from genlab.utils.terminal import echo

EXAMPLES = """\
  genlab prepare dataset=celeba dataset.size=64
  genlab prepare dataset=lsun dataset.category=bedroom dataset.root=/data/lsun
"""


def parser() -> Parser:
    parse = Parser("prepare", "Decode a data set once, so that training starts at once.", EXAMPLES)
    parse.add_argument("overrides", nargs="*", metavar="OVERRIDES")
    parse.flags("config-dir", "plugin")
    return parse


def run(options: argparse.Namespace) -> int:
    from genlab.config import compose
    from genlab.registry import discover, load_plugins
    from genlab.utils.progress import store_progress

    composed = compose.compose(options.overrides, options.config_dir, options.plugin)
    compose.precheck(composed.config, options.plugin)  # before torch is loaded

    from genlab.data.adapt import build_dataset

    discover()
    load_plugins(options.plugin)
    config = compose.check(composed.config)
    dataset = build_dataset(config["dataset"], "dataset", seed=config["seed"])
    dataset.check()
    began = time.perf_counter()
    with store_progress() as show:
        dataset.prepare(show)
    echo(f"{config['dataset']['name']} is ready ({time.perf_counter() - began:.1f} s)")
    return 0

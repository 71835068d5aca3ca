"""genlab prepare: decode a data set into its store beforehand."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from genlab.cli.options import Parser
from genlab.errors import ConfigError
from genlab.utils.terminal import echo, say

EXAMPLES = """\
  genlab prepare dataset=celeba dataset.size=64
  genlab prepare dataset=celeba dataset.size=64 verify=true     # compare every byte with its hash, and repair
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

    words, verify = _verify(options.overrides)
    composed = compose.compose(words, options.config_dir, options.plugin)
    compose.precheck(composed.config, options.plugin)  # before torch is loaded

    from genlab.data.adapt import build_dataset

    discover()
    load_plugins(options.plugin)
    config = compose.check(composed.config)
    dataset = build_dataset(config["dataset"], "dataset", seed=config["seed"])
    dataset.check()
    began = time.perf_counter()
    with store_progress() as show:
        stored = dataset.prepare(show, verify)
    ready = "ready, every byte compared with its hash" if verify else "ready"
    echo(f"{config['dataset']['name']} is {ready} ({time.perf_counter() - began:.1f} s)")
    if stored.old:
        say(f"{stored.path} was decoded by an older genlab, without the hashes that training compares; delete it and "
            "prepare the data set again")  # fmt: skip
    return 0


def _verify(words: Sequence[str]) -> tuple[list[str], bool]:
    """The overrides without `verify=...`, and its value."""
    found = [word.partition("=")[2] for word in words if word.startswith("verify=")]
    if not set(found) <= {"true", "false"}:
        raise ConfigError(f"bad value '{found[-1][:60]}' for 'verify'", "genlab prepare", "give true or false")
    return [word for word in words if not word.startswith("verify=")], found[-1:] == ["true"]

"""genlab bench: how fast genlab's own training runs a named workload, as one JSON line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from genlab.cli.options import Parser, keywords
from genlab.config.yaml_comments import values
from genlab.errors import ConfigError, nearest
from genlab.utils.terminal import echo

EXAMPLES = """\
  genlab list workloads
  genlab bench vae_mlp_mnist steps=1000 threads=1
  genlab bench dcgan64 batch=128 steps=50 precision=bf16
  genlab bench vae_mlp_mnist optimizer.lr=3e-4 logger=quiet   any other override of genlab train
"""
OWN = ("steps", "warmup")  # how many steps are timed, and how many come before
SHORT = {"batch": "trainer.batch_size", **{key: f"trainer.{key}" for key in
         ("precision", "compile", "channels_last", "cuda_graphs", "threads")}}  # fmt: skip


def parser() -> Parser:
    about = f"Time genlab's own training. Options: {', '.join(f'{key}=' for key in (*OWN, *SHORT))}, and overrides."
    parse = Parser("bench", about, EXAMPLES)
    parse.add_argument("workload", metavar="WORKLOAD", help="a name from: genlab list workloads")
    parse.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parse.flags("config-dir", "plugin", "device")
    return parse


def run(options: argparse.Namespace) -> int:
    from genlab.config import compose

    if "=" in options.workload:
        raise ConfigError(f"'{options.workload[:60]}' is not a workload", "genlab bench", "see: genlab list workloads")
    own, overrides = split(options.overrides, options.config_dir)
    words = [f"workload={options.workload}", *overrides]
    composed = compose.compose(words, options.config_dir, options.plugin, options.device)
    compose.precheck(composed.config, options.plugin)
    from genlab.workflows.benchmark import Span, measure

    echo(json.dumps(measure(options.workload, composed, Span(**keywords(Span, own)))))
    return 0


def split(arguments: Sequence[str], config_dirs: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of the bench itself, and Hydra overrides in full; ConfigError for what would upset the bench."""
    from genlab.config import compose
    from genlab.config.overrides import groups

    folders = [compose.search_path(), *compose.private_folders(config_dirs)]
    known = {*OWN, *SHORT, *groups(folders), *values(folders[0] / "train.yaml", folders)}
    own, overrides = [], []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in ("hydra.run.dir", "dry_run", "workload"):
            raise ConfigError(f"'{key}' is not for a benchmark", "genlab bench", "leave it out")
        if key.isidentifier() and key not in known:
            raise ConfigError(f"unknown key '{key[:60]}'", "genlab bench", nearest(key, known))
        if key in OWN:
            own.append(argument)
        else:
            overrides.append(f"{SHORT.get(key, key)}{equals}{value}")
    return own, overrides

"""genlab train: one run, a sweep, or a look at the configuration."""

from __future__ import annotations

import argparse

from genlab.cli.options import Parser
from genlab.utils.terminal import echo

EXAMPLES = """\
  genlab train                                              a VAE on built-in digits
  genlab train model=dcgan dataset=mnist trainer.epochs=5
  genlab train model=vae dataset=mnist optimizer.lr=3e-4 model.latent_dim=2
  genlab train experiment=quick                             a preset; see genlab list experiments
  genlab train dry_run=true model=dcgan                     sizes and one measured step, no run folder
  genlab train hydra.run.dir=outputs/mine                   the same command again resumes
  genlab train -m model=vae,autoencoder seed=1,2,3          a sweep: six runs
  genlab train -m sweep=seeds model=dcgan                   a preset of several runs; see genlab list sweeps
"""


def parser() -> Parser:
    parse = Parser("train", "Train a model. OVERRIDES are group=option and key=value, in Hydra's grammar.", EXAMPLES)
    parse.add_argument("overrides", nargs="*", metavar="OVERRIDES")
    parse.add_argument("-m", "--multirun", action="store_true", help="run every combination of the values")
    parse.add_argument("--jobs", type=int, default=1, metavar="N", help="with -m: how many runs at a time")
    parse.add_argument("--cfg", choices=["job"], help="print the resolved configuration and stop")
    parse.flags("config-dir", "plugin", "device")
    parse.add_argument("--allow-change", action="store_true", help="resume although configuration or data changed")
    return parse


def run(options: argparse.Namespace) -> int:
    from genlab.config import compose
    from genlab.distributed import launcher, ranks

    ranks.from_environment()  # reports errors before torch is loaded
    if options.multirun:
        from genlab.sweep.plan import plan
        from genlab.sweep.runner import sweep

        planned = plan(options.overrides, options.config_dir, options.plugin, options.device)
        return sweep(planned, options.jobs, show_only=options.cfg is not None)
    composed = compose.compose(options.overrides, options.config_dir, options.plugin, options.device)
    if options.cfg:
        from genlab.config.yaml_file import dump_config

        echo(*dump_config(composed.config).decode().splitlines())
        return 0
    compose.precheck(composed.config, options.plugin)  # reports errors before torch is loaded
    count = launcher.wanted(composed.config)
    if count > 1:
        change = ["--allow-change"] if options.allow_change else []
        return launcher.launch(count, ["train", *change, *composed.words()])
    from genlab.workflows.train import run as run_training

    run_training(composed, allow_change=options.allow_change)
    return 0

"""Commands: each is a module, or an object `module:NAME`, with `parser()` for its arguments and `run(arguments)`."""

from __future__ import annotations

from typing import Any

# command: where it is below genlab.cli, what it does
COMMANDS = {
    "train": ("train", "train a model, or a sweep of them (-m)"),
    "resume": ("resume", "resume a run that was stopped"),
    "eval": ("evaluate", "measure a trained model on the test split"),
    "export": ("exchange.export", "a trained model as safetensors, ONNX or torch.export, checked at once"),
    "score": ("exchange.score", "measure samples of any origin: a file of numbers, or a folder"),
    "sample": ("images.sample:COMMAND", "sample images from a trained model"),
    "film": ("images.film:COMMAND", "samples from noise to data, or a run's images over training, as a film or strip"),
    "reconstruct": ("images.restore:RECONSTRUCT_COMMAND", "images and their reconstructions by a trained model"),
    "denoise": ("images.restore:DENOISE_COMMAND", "noisy images, denoised by a trained model"),
    "inpaint": ("images.restore:INPAINT_COMMAND", "images with a square missing, filled by a trained model"),
    "translate": ("images.translate:COMMAND", "images and their translations by a trained model"),
    "interpolate": ("images.interpolate:COMMAND", "images between codes of a trained model"),
    "walk": ("images.interpolate:WALK_COMMAND", "a path through codes as an animation, GIF or WebP"),
    "project": ("images.project:COMMAND", "find the code whose image is most like a given one"),
    "traverse": ("images.traverse:COMMAND", "the effect of each number of a code on the image"),
    "arithmetic": ("images.arithmetic:COMMAND", "add an attribute to images, as a direction in code space"),
    "anomaly": ("images.anomaly:COMMAND", "score images and mark anomalies"),
    "encode": ("images.encode:COMMAND", "write the codes of a data set as a NumPy file"),
    "explore": ("explore.command", "a page in the browser to play with a trained model"),
    "compare": ("compare", "runs side by side: metrics with verdicts, curves, images"),
    "plot": ("images.plot", "curves of runs as a figure: SVG, PDF or PNG"),
    "runs": ("runs_table", "a table of runs: status, step, best metric"),
    "new": ("plugins.new", "write a plug-in that works: a model, data set or evaluator"),
    "trust": ("plugins.trust", "load a plug-in of the current folder without --plugin"),
    "list": ("listing", "models, datasets, optimizers, experiments, ..."),
    "info": ("info", "one model, data set, ...: paper, parameters, losses"),
    "prepare": ("prepare", "decode a data set into its store beforehand"),
    "reproduce": ("reproduce", "train and measure what the results claim, and compare"),
    "bench": ("machine.bench", "time training on a named workload, as one JSON line"),
    "doctor": ("machine.doctor", "versions, devices, data found, broken plug-ins, time to start"),
    "completion": ("completion", "a completion script for bash, zsh or fish"),
}


def load_command(name: str) -> Any:
    """The module or object of the command `name`; importing it loads neither torch nor Hydra."""
    from importlib import import_module

    module, _, attribute = COMMANDS[name][0].partition(":")
    command = import_module(f"genlab.cli.{module}")
    return getattr(command, attribute) if attribute else command

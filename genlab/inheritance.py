"""`model.init_from=RUN`: a model whose body is what another run has trained, with its weights if `model.pretrained`.

The run folder that comes of it holds the body's spec and all weights, and can be opened and resumed without RUN.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genlab import runs
from genlab.build import load, read_stored
from genlab.errors import ConfigError, DataError
from genlab.registry import DATASETS

if TYPE_CHECKING:
    from genlab.build import LoadedRun
    from genlab.data.dataset import Data
    from genlab.model import Model

ROOT = Path("outputs")  # where runs.find looks for a name


def settled(settings: dict[str, Any]) -> dict[str, Any]:
    """The configuration with RUN's model in place of `model.body`, and RUN's path in full."""
    given = settings["model"].get("init_from")
    if not given:
        return settings
    path = runs.find(given).absolute()
    return _with_body(settings, str(path), read_stored(path)["model"])


def continued(settings: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a run that goes on: from its own configuration, for RUN may be gone by now."""
    given, before = settings["model"].get("init_from"), stored["model"].get("init_from")
    if not given or not before:
        return settings
    same = given == "last" or before in {str(path.absolute()) for path in (Path(given), ROOT / given)}
    return _with_body(settings, before, stored["model"]["body"]) if same else settings


def inherit(model: Model, settings: Mapping[str, Any], data: Data, warn: bool) -> None:
    """Give `model.body` the weights of RUN's newest checkpoint.

    ConfigError if it was made for other images, or has learned from images that are test images here.
    """
    given = settings["model"].get("init_from")
    if not given or not settings["model"].get("pretrained", True):
        return
    run = load(given, "cpu")
    shape = tuple(runs.data_facts(run.record, run.path)["shape"])
    if shape != data.shape:
        raise ConfigError(
            f"the run was trained on images of {_sides(shape)}, these are {_sides(data.shape)}",
            f"key model.init_from, run {run.path}",
            f"use dataset.size={shape[1]}" if shape[0] == data.shape[0] else "use another run or data set",
        )
    _check_seen(run, settings, warn)
    model.get_submodule("body").load_state_dict(run.model.state_dict())


def _check_seen(run: LoadedRun, settings: Mapping[str, Any], warn: bool) -> None:
    """ConfigError if the run was trained on test images of these settings; a warning if on validation images."""
    before, now = (DATASETS.build(each["dataset"], "dataset", seed=each["seed"]) for each in (run.config, settings))
    try:
        if type(before) is not type(now) or before.files() != now.files():
            return
    except DataError:  # its files have gone, and ours are here: they are others
        return
    seen, splits = before.splits(before.prepare())["train"], now.splits(now.prepare())
    stored = {"seed": run.config["seed"]} | {
        f"dataset.{key}": run.config["dataset"][key] for key in ("valid", "test") if key in run.config["dataset"]
    }
    same = "use the run's own splits: " + " ".join(f"{key}={value}" for key, value in stored.items())
    for name, kind in (("test", "test"), ("valid", "validation")):
        if not (shared := int(np.isin(splits[name], seen).sum())):
            continue
        said = f"the run was trained on {shared} of the {len(splits[name])} {kind} images"
        if name == "test":
            raise ConfigError(said, f"key model.init_from, run {run.path}", same)
        if warn:
            print(f"genlab: warning: {said}, whose figures will flatter the model; {same}", file=sys.stderr)


def _with_body(settings: dict[str, Any], path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "model": {**settings["model"], "init_from": path, "body": dict(body)}}


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

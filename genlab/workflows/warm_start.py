"""Weights from elsewhere: those of another run or file are read once, when a run starts.

`model.perceptual`: a frozen network with weights from the user's file or a package. `model.init_from=RUN`: the body is
the model of another run, with its weights if `model.pretrained`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genlab.checkpoint.safetensors_file import read_weights
from genlab.data.adapt import build_dataset
from genlab.data.dataset import StoredDataset
from genlab.errors import ConfigError, DataError
from genlab.nn.losses.perceptual import EfficientNetDistance, OwnFeatures
from genlab.runs import run_folder
from genlab.utils.paths import user_file
from genlab.utils.terminal import say
from genlab.workflows.build import load, read_stored

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.data.dataset import Data
    from genlab.distributed.runtime import Runtime
    from genlab.workflows.build import LoadedRun

ROOT = Path("outputs")  # where runs.find looks for a name


def settled(config: dict[str, Any], runtime: Runtime) -> dict[str, Any]:
    """The configuration with RUN's model in place of `model.body`, and RUN's path in full: one for all ranks."""
    source = config["model"].get("init_from")
    if source is None:
        return config
    path = runtime.broadcast(run_folder.find(source).absolute())  # `last` may have become another run meanwhile
    return _with_body(config, str(path), read_stored(path)["model"])


def continued(config: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a resumed run, from its own stored configuration: RUN may have been deleted."""
    source, before = config["model"].get("init_from"), stored["model"].get("init_from")
    if source is None or before is None:
        return config
    same = source == "last" or before in {str(path.absolute()) for path in (Path(source), ROOT / source)}
    return _with_body(config, before, stored["model"]["body"]) if same else config


def inherit(model: Model, config: Mapping[str, Any], data: Data, warn: bool) -> None:
    """Give `model.body` the weights of RUN's newest checkpoint.

    ConfigError if it was made for other images, or has learned from images that are test images here.
    """
    source = config["model"].get("init_from")
    if source is None or not config["model"].get("pretrained", True):
        return
    run = load(source, "cpu")
    shape = tuple(run_folder.data_record(run.record, run.path)["shape"])
    if shape != data.shape:
        raise ConfigError(
            f"the run was trained on images of {_sides(shape)}, these are {_sides(data.shape)}",
            f"key model.init_from, run {run.path}",
            f"use dataset.size={shape[1]}" if shape[0] == data.shape[0] else "use another run or data set",
        )
    _check_seen(run, config, warn)
    model.get_submodule("body").load_state_dict(run.model.state_dict())


def read_features(model: Model, new: bool = True) -> None:
    """Give each perceptual loss in `model` its weights; a run that is not `new` has those of a file in its checkpoint.

    DataError if they are missing, ConfigError if they are not the network's.
    """
    for module in model.modules():
        if isinstance(module, EfficientNetDistance):
            module.load()
        elif isinstance(module, OwnFeatures) and new:
            _read_file(module)


def _read_file(module: OwnFeatures) -> None:
    where = f"key model.perceptual.weights, file {module.file}"
    try:
        file = user_file(module.file, "key model.perceptual.weights")
        module.network.load_state_dict(read_weights(file, module.network))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the weights cannot be read ({error})", where, "give a safetensors file") from None
    except RuntimeError as error:  # names or shapes differ: torch lists them, a line each
        hint = "make model.perceptual.network the network they are from"
        raise ConfigError(" ".join(str(error).split())[:160], where, hint) from None


def _check_seen(run: LoadedRun, config: Mapping[str, Any], warn: bool) -> None:
    """ConfigError if the run was trained on test images of this configuration; a warning if on validation images."""
    before, now = (build_dataset(each["dataset"], "dataset", seed=each["seed"]) for each in (run.config, config))
    try:
        if type(before) is not type(now) or not isinstance(now, StoredDataset) or before.source_hash != now.source_hash:
            return  # generated data have common samples only by chance
    except DataError:  # its files are missing, so they are not ours
        return
    seen, splits = before.splits(before.prepare())["train"], now.splits(now.prepare())
    own = {key: run.config["dataset"][key] for key in ("valid", "test", "split_seed") if key in run.config["dataset"]}
    same = "use the run's own splits: " + " ".join(f"dataset.{key}={value}" for key, value in own.items())
    for name, kind in (("test", "test"), ("valid", "validation")):
        if not (shared := int(np.isin(splits[name], seen).sum())):
            continue
        problem = f"the run was trained on {shared} of the {len(splits[name])} {kind} images"
        if name == "test":
            raise ConfigError(problem, f"key model.init_from, run {run.path}", same)
        if warn:
            say(f"warning: {problem}, so metrics on them will be too good; {same}")


def _with_body(config: dict[str, Any], path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "model": {**config["model"], "init_from": path, "body": dict(body)}}


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

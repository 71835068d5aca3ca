"""Configuration → objects: data, model, trainer, loggers; and a run folder → its trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genlab.checkpoint import manager
from genlab.config import compose
from genlab.config.schema import check_phases, phase_spec
from genlab.config.trainer_config import CheckpointConfig, TrainerConfig
from genlab.core import rng
from genlab.core.data_spec import DataSpec
from genlab.core.model import Model
from genlab.core.values import Loggers
from genlab.data.adapt import build_dataset
from genlab.distributed.batch_norm import synchronize
from genlab.distributed.float64 import check_float64
from genlab.distributed.runtime import Runtime, choose_device
from genlab.engine.saved_state import checked
from genlab.engine.trainer import Trainer
from genlab.errors import CheckpointError, ConfigError
from genlab.registry import EVALUATORS, LOGGERS, MODELS, OPTIMIZERS, SCHEDULES, discover, load_plugins
from genlab.runs import run_folder
from genlab.utils.progress import store_progress

if TYPE_CHECKING:
    from genlab.data.dataset import Data


def load_registry(plugins: Sequence[str] = ()) -> None:
    """Import genlab's registered classes, then the modules in `plugins`."""
    discover()
    load_plugins(plugins)


def build_data(config: Mapping[str, Any], runtime: Runtime) -> Data:
    """The data set on its device. A store is built first if there is none, and the model can learn from it."""
    dataset = build_dataset(config["dataset"], "dataset", seed=config["seed"])
    dataset.check()

    def validate(spec: DataSpec) -> None:
        build_model(config, spec, runtime)  # raises now, not after minutes of decoding

    dataset.validate = validate
    with store_progress() as show:
        return dataset.open(runtime.device, show if runtime.is_main and not is_quiet(config) else None)


def is_quiet(config: Mapping[str, Any]) -> bool:
    """Whether the configuration asks for no output in the terminal, as logger=quiet does. Errors are printed."""
    return not any(spec and spec["name"] == "console" for spec in config["logger"].values())


def build_model(config: Mapping[str, Any], data: DataSpec, runtime: Runtime) -> Model:
    """The model on its device, its initial weights determined by the seed; the same on every rank."""
    _check_kind(config["model"], data)
    with rng.replicated():
        rng.seed(config["seed"])
        model = MODELS.build(config["model"], "model", image_shape=data.shape, num_classes=data.num_classes)
    if "label" in model.inputs and data.num_classes is None:
        raise ConfigError(
            f"model '{config['model']['name']}' needs labels",
            f"dataset {data.name} has none",
            "choose a labeled data set: genlab list datasets",
        )
    if "label" in {*model.inputs, *model.conditions} and data.multi_label:  # models can only sample classes
        raise ConfigError(
            f"model '{config['model']['name']}' needs one class per image",
            f"dataset {data.name} has attributes",
            "choose one with classes: genlab list datasets",
        )
    check_phases(config["optimizer"], {id(phase.module): phase.name for phase in reversed(model.phases())}.values())
    check_float64(model, runtime.device)
    if runtime.world_size > 1:
        synchronize(model)
    return model.to(runtime.device)


def _check_kind(spec: Mapping[str, Any], data: DataSpec) -> None:
    """ConfigError if the model cannot learn from this kind of data: points, images, pairs."""
    target = MODELS.get(spec["name"], "model")
    takes: Mapping[str, Any] | None = getattr(target, "points", None)
    if data.points and (takes is None or any(spec.get(key) != value for key, value in takes.items())):
        raise ConfigError(
            f"these data are points, not images, and model '{spec['name']}' makes numbers from 0 to 1",
            f"dataset {data.name}",
            f"use {_options(takes)}" if takes else "use model=gan model.output=linear",
        )
    if {"a", "b"} & set(getattr(target, "inputs", ())) - set(data.columns):
        raise ConfigError(
            f"model '{spec['name']}' learns from pairs of images",
            f"dataset {data.name} has none",
            _pairs(data) if hasattr(target, "translate_back") else "use dataset=facades, paired, colorize or low_high",
        )
    if getattr(target, "partners", False) and not data.aligned:
        raise ConfigError(
            f"model '{spec['name']}' compares a translation with its target",
            f"the images of dataset {data.name} have none",
            "use model=cyclegan, or dataset=facades, paired, colorize or low_high",
        )


def _options(takes: Mapping[str, Any]) -> str:
    return " ".join(f"model.{key}={str(value).lower()}" for key, value in takes.items())


def _pairs(data: DataSpec) -> str:
    """How to make two domains of a data set that has no pairs."""
    names = data.label_names or []
    if len(names) < 2:
        return "use dataset=unpaired dataset.root=FOLDER"
    part = "classes=[0,1]"
    if data.multi_label:
        part = f"attribute={'Smiling' if 'Smiling' in names else names[0]}"
    return f"use dataset=unpaired dataset.base={data.name} 'dataset.{part}'"


def build_trainer(config: Mapping[str, Any], data: Data, model: Model, runtime: Runtime) -> Trainer:
    """The trainer with its optimizers, schedule and evaluators, as the configuration says.

    GenlabError if an evaluator cannot run on these data: found now, not at the end of training.
    """

    def optimizer(phase: str, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return OPTIMIZERS.build(phase_spec(config["optimizer"], phase), "optimizer", params=parameters)

    keys = {name: f"evaluator.{name}" for name, spec in config["evaluator"].items() if spec}
    evaluators = {name: EVALUATORS.build(config["evaluator"][name], key, key=key) for name, key in keys.items()}
    trainer = Trainer(
        model,
        data,
        runtime,
        TrainerConfig(**config["trainer"]),
        CheckpointConfig(**config["checkpoint"]),
        seed=config["seed"],
        optimizer=optimizer,
        schedule=SCHEDULES.build(config["schedule"], "schedule"),
        evaluators=evaluators,
    )
    for evaluator in trainer.validation.evaluators.values():
        if evaluator.split:
            evaluator.check(model, data.split(evaluator.split))
    return trainer


def build_loggers(config: Mapping[str, Any], path: Path, resumed_at: int | None) -> Loggers:
    """The loggers that the configuration names; those of a resumed run drop what came after its checkpoint."""
    specs = {key: spec for key, spec in config["logger"].items() if spec}
    return Loggers(
        LOGGERS.build(spec, f"logger.{key}", folder=path, resumed_at=resumed_at) for key, spec in specs.items()
    )


def parameter_counts(model: Model) -> dict[str, int]:
    """Trainable parameters of each direct child of a model, and of the model's own."""
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    own = sum(p.numel() for p in model.parameters(recurse=False))
    return counts | ({"own": own} if own else {})


@dataclass(frozen=True)
class LoadedRun:
    """A trained model in evaluation mode, with what is known of its run."""

    path: Path
    model: Model
    config: dict[str, Any]
    record: dict[str, Any]
    runtime: Runtime
    step: int
    weights: str  # "ema" or "raw"
    sha256: str  # of the checkpoint's tensors

    def data(self) -> Data:
        """The run's data set on the run's device; DataError if it is no longer there."""
        return _opened(self.config, self.runtime.device)


def open_data(source: str | Path | Sequence[str]) -> Data:
    """On the host: the data set of a run, a name or a path, or the one that a list of overrides chooses."""
    load_registry()
    if isinstance(source, str | Path):
        config = read_stored(run_folder.find(str(source)))
    else:
        config = compose.check(compose.compose(list(source)).config)
    return _opened(config, torch.device("cpu"))


def _opened(config: Mapping[str, Any], device: torch.device) -> Data:
    return build_dataset(config["dataset"], "dataset", seed=config["seed"]).open(device)


def read_stored(path: Path) -> dict[str, Any]:
    """A run's own configuration, checked like any other; CheckpointError if it is damaged."""
    stored = run_folder.read_config(path)
    try:
        return compose.check(stored)
    except ConfigError as error:
        raise CheckpointError(
            f"the run's configuration does not hold: {error}",
            str(path / run_folder.CONFIG),
            "restore it; a plug-in's model needs --plugin MODULE",
        ) from None


def load(
    run: str | Path = "last", device: str = "auto", plugins: Sequence[str] = (), checkpoint: str = "newest"
) -> LoadedRun:
    """Open a run folder or a model file without running any code from it; averaged weights are used if there are any.

    `checkpoint`: "newest", "best" or a step.
    """
    path = run_folder.find_model(str(run))
    load_registry(plugins)
    if path.is_file():
        from genlab.workflows.export import model_file

        return model_file.read(path, device)
    stored, record = read_stored(path), run_folder.read_record(path)
    found = _chosen(manager.Checkpoints(path / "ckpt"), checkpoint, record)
    if found is None:
        running = record["status"] == "running"
        hint = "it is training now: wait for its first checkpoint" if running else "train it further: genlab resume"
        raise CheckpointError("the run has no checkpoint yet", f"run {path}", hint)
    runtime = Runtime(choose_device(device))
    data = run_folder.data_record(record, path)
    model = MODELS.build(stored["model"], "model", image_shape=tuple(data["shape"]), num_classes=data["num_classes"])
    structure = checked(found.state)["structure"]
    weights = "ema" if "ema" in structure else "model"
    manager.unpack({weights: model}, found.tensors, {weights: structure.get(weights)})
    check_float64(model, runtime.device)
    model = model.to(runtime.device).eval().requires_grad_(False)
    label = "ema" if weights == "ema" else "raw"
    return LoadedRun(path, model, stored, record, runtime, found.step, label, found.sha256)


def _chosen(checkpoints: manager.Checkpoints, which: str, record: Mapping[str, Any]) -> manager.Loaded | None:
    """The checkpoint that `which` names; None if there is none yet."""
    if which == "newest":
        return checkpoints.newest()
    best: int = (record.get("best") or {}).get("step", -1)
    if which == "best" and best not in checkpoints.steps():
        raise CheckpointError(
            f"the checkpoint of the best step, {best}, was not kept" if best >= 0 else "no step is known as the best",
            "--checkpoint best",
            "train with checkpoint.best=true, or the name of a metric that is measured",
        )
    if which != "best" and not which.isdecimal():
        raise ConfigError(f"bad value '{which}'", "--checkpoint", "use newest, best or a step")
    return checkpoints.at(best if which == "best" else int(which))

"""The metadata that a run records when it starts, and the checks against it when the run resumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genlab import registry
from genlab.checkpoint import manager
from genlab.config.parameters import parameters
from genlab.config.trainer_config import TrainerConfig
from genlab.core.model import capabilities
from genlab.core.sampling import OPEN_METHODS, method_options
from genlab.data.dataset import StoredDataset
from genlab.errors import CheckpointError
from genlab.runs import provenance, run_folder
from genlab.utils.terminal import say
from genlab.workflows.build import parameter_counts

if TYPE_CHECKING:
    from genlab.core.model import Model
    from genlab.data.dataset import Data
    from genlab.distributed.runtime import Runtime

# Keys that may differ from the stored configuration when a run resumes. Only the device, the number of threads and
# the length (if a schedule depends on it) change the weights; they give a warning. The number of processes is
# compared separately.
FREE_KEYS = ("trainer.steps", "trainer.epochs", "trainer.device", "trainer.devices", "trainer.threads",
             "trainer.log_every", "trainer.patience", "trainer.max_time",
             "checkpoint", "evaluator", "logger", "dry_run", "name",
             *(f"dataset.{key}" for key in sorted(StoredDataset.places)))  # fmt: skip
INEXACT_KEYS = ("trainer.device", "trainer.threads", "trainer.steps", "trainer.epochs")


def metadata(config: Mapping[str, Any], data: Data, model: Model, runtime: Runtime) -> dict[str, Any]:
    """The fields of run.json that are written when a run starts."""
    keys = TrainerConfig(**config["trainer"])
    return {
        "status": "running",
        "seed": config["seed"],
        "plugins": list(registry.loaded_plugins),
        "config_hash": provenance.config_hash(config),
        "versions": provenance.versions(),
        "git": provenance.git_state(Path(__file__).parents[1]),
        "machine": provenance.machine(),
        "device": str(runtime.device),
        "precision": runtime.precision,
        "channels_last": runtime.channels_last(keys.channels_last, model, keys.batch_size),
        "threads": torch.get_num_threads(),
        "world": runtime.world_size,
        "data": {
            "name": data.name,
            "shape": list(data.shape),
            "num_classes": data.num_classes,
            "label_names": data.label_names,
            "fingerprint": data.fingerprint,
            "sizes": data.sizes(),
        },
        "model": {
            "name": config["name"],
            "family": config["model"]["name"],
            "parameters": parameter_counts(model),
            "can": capabilities(model),
            "options": _options(model),
        },
        **provenance.process_info(),
    }


def _options(model: Model) -> dict[str, dict[str, list[str]]]:
    """The options of `genlab sample RUN` and the like for this model, for completion, which must not load torch."""
    found = {method: parameters(method_options(model, method)) for method in OPEN_METHODS}
    return {method: {each.name: each.choices for each in options} for method, options in found.items() if options}


def refuse_changes(
    path: Path, stored: dict[str, Any], now: dict[str, Any], record: Mapping[str, Any], runtime: Runtime, allowed: bool
) -> None:
    """CheckpointError if resuming would mix two configurations; a warning if only bit-exactness is lost."""
    changed = run_folder.differences(stored, now)
    strict = [key for key in changed if not any(key == free or key.startswith(f"{free}.") for free in FREE_KEYS)]
    if runtime.world_size != record.get("world", 1):
        strict.append(f"processes ({record.get('world', 1)} then, {runtime.world_size} now)")
    if strict and not allowed:
        raise CheckpointError(
            f"the run was made with another configuration: {', '.join(strict[:8])}",
            f"run {path}",
            "use the same command, another hydra.run.dir, or --allow-change",
        )
    steady = now["schedule"] == {"name": "constant", "warmup": 0.0}  # then no step depends on the length
    inexact = strict + [key for key in changed if key in (INEXACT_KEYS[:2] if steady else INEXACT_KEYS)]
    here = {"device": str(runtime.device), "precision": runtime.precision, "threads": torch.get_num_threads()}
    inexact += [f"{key} (was {record[key]})" for key, value in here.items() if record.get(key, value) != value]
    if inexact and runtime.is_main:
        say(f"warning: {', '.join(inexact)} changed: the result will differ from that of an uninterrupted run")


def refuse_other_data(path: Path, record: Mapping[str, Any], data: Data) -> None:
    """CheckpointError if the data set is not the one that the run began with."""
    if run_folder.data_record(record, path)["fingerprint"] != data.fingerprint:
        raise CheckpointError(
            "the data have changed since the run began",
            f"run {path}, dataset {data.name}",
            "bring the old data back, start a new run, or use --allow-change",
        )


def newest(path: Path, runtime: Runtime) -> manager.Loaded | None:
    """The newest intact checkpoint; CheckpointError if rank 0 resumes from another one."""
    found = manager.Checkpoints(path / "ckpt").newest()
    step = found.step if found else None
    agreed = runtime.broadcast(step)
    if step != agreed:
        raise CheckpointError(
            f"process {runtime.rank} finds the checkpoint of step {step}, process 0 that of {agreed}",
            f"run {path}",
            "give all processes the same run folder",
        )
    return found

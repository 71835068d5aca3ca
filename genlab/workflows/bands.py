"""Which band belongs to a run: that of the experiment whose configuration the run has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.config.overrides import leaves
from genlab.data.dataset import StoredDataset
from genlab.errors import ConfigError, GenlabError
from genlab.runs import bands, run_folder
from genlab.runs.metrics_file import records
from genlab.utils.own_folder import OwnFolder
from genlab.workflows.build import read_stored
from genlab.workflows.reproduce.matching import WATCHING, configuration

# Keys in which a run may differ from the runs of a band: other noise, another machine, other figures beside training.
FREE = (*WATCHING, "seed", "dry_run", *(f"dataset.{key}" for key in sorted(StoredDataset.places)),
        *(f"trainer.{key}" for key in ("device", "devices", "precision", "channels_last", "compile", "cuda_graphs",
                                       "deterministic", "threads", "patience")))  # fmt: skip


def of(config: Mapping[str, Any]) -> bands.Band | None:
    """The band of the shipped experiment that has this checked configuration; None if there is none."""
    keys = training_keys(config)
    return next((band for band in _shipped() if _is_from(band, keys) and _is_experiment(band, config)), None)


def training_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a configuration, dotted, on which the curves of its runs depend."""
    return {key: value for key, value in leaves(config).items() if not _is_free(key)}


def _shipped() -> Iterator[bands.Band]:
    for path in bands.shipped():
        try:
            yield bands.read(path)
        except (OSError, ValueError):  # a run needs no band
            continue


def _is_from(band: bands.Band, keys: Mapping[str, Any]) -> bool:
    """Whether the keys that the runs of the band had are the same; versions since may have added others."""
    return not run_folder.differences({key: keys.get(key) for key in band.config}, band.config)


def _is_experiment(band: bands.Band, config: Mapping[str, Any]) -> bool:
    try:
        experiment = configuration((f"experiment={band.experiment}",))
    except GenlabError:
        return False
    return not any(not _is_free(key) for key in run_folder.differences(dict(config), experiment))


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def from_runs(experiment: str, runs: Sequence[Path]) -> bands.Band:
    """The band of these run folders.

    ConfigError unless they are at least two finished runs of the shipped experiment, each with a seed of its own.
    """
    keys = training_keys(configuration((f"experiment={experiment}",)))
    configs = [read_stored(run) for run in runs]
    for run, config in zip(runs, configs, strict=True):
        if run_folder.read_record(run)["status"] != "done":
            raise ConfigError("the run has not finished", f"run {run}", f"finish it: genlab resume {run}")
        if other := run_folder.differences(training_keys(config), keys):
            raise ConfigError(f"the run differs from experiment={experiment}", f"run {run}, key {other[0]}",
                              "leave it out")  # fmt: skip
    if len({config["seed"] for config in configs}) < max(2, len(runs)):
        raise ConfigError("a band needs at least two runs, each with its own seed", f"band of {experiment}",
                          "train with other seeds")  # fmt: skip
    band = bands.make(experiment, keys, [_curves(run) for run in runs])
    if not band.curves:
        raise ConfigError("the runs share no curve of enough points", f"band of {experiment}", "log more often")
    return band


def judged(band: bands.Band, run: Path) -> bands.Judge:
    """A finished run, of any configuration, compared with a band."""
    judge = bands.Judge(band)
    judge.replay(run)
    return judge


def _curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """`split/name` -> (step, value), from metrics.jsonl."""
    found: dict[str, list[tuple[int, float]]] = {}
    for _, record in records(OwnFolder(run)):
        step, split, _ = record.pop("step"), record.pop("split"), record.pop("time")
        for name, value in record.items():
            found.setdefault(f"{split}/{name}", []).append((step, math.nan if value is None else value))
    return found

"""Whether a run folder and its results were made as the claims say: what a folder's name promises proves nothing."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genlab.config import compose, overrides
from genlab.config.trainer_config import with_defaults
from genlab.core.evaluator import Evaluator
from genlab.distributed.runtime import Runtime
from genlab.errors import CheckpointError, ConfigError, GenlabError, nearest
from genlab.runs import evaluations, run_folder
from genlab.runs.provenance import config_hash
from genlab.utils.own_folder import OwnFolder
from genlab.workflows import warm_start
from genlab.workflows.build import load_registry
from genlab.workflows.evaluation import changed_keys, configured
from genlab.workflows.reproduce.claims import Claims, Evaluation, run_path

SHOWN_KEYS = 5  # of those that differ
# Keys that change neither weights nor what a claim measures: a run made with other default evaluators is the same run.
WATCHING = ("evaluator", "logger", "checkpoint", "trainer.log_every", "trainer.max_time", "name")


def finished(part: Claims, name: str, folder: Path) -> dict[str, Any] | None:
    """run.json of the run `name`; None if there is none, or if it has not finished.

    ConfigError if it, or a run that it comes after, was made with another configuration than the claimed one.
    """
    record = _record(run_path(folder, name))
    if record is None:
        return None
    run = part.of(name)
    for before in part.folders([run.after] if run.after else []):
        finished(part, before, folder)
    claimed = configuration(tuple(run.overrides_of(name, folder)))
    expected, found = config_hash(claimed), record.get("config_hash")
    if found != expected and (keys := _differing(run_path(folder, name), claimed, found)) != []:
        differs = f", which differs in {', '.join(keys[:SHOWN_KEYS])}" if keys else ""
        raise ConfigError(
            f"run {name} was made with configuration {found}, the claim's is {expected}",
            f"run {run_path(folder, name)}{differs}",
            "remove the folder, or choose another with --runs; --forget takes its figures out of the ledger",
        )
    return record


def _record(run: Path) -> dict[str, Any] | None:
    if not run_folder.is_run(run):
        return None
    try:
        found = run_folder.read_record(run)
    except GenlabError:
        return None
    return found if found["status"] == "done" else None


def _differing(run: Path, claimed: Mapping[str, Any], recorded: object) -> list[str] | None:
    """The keys of training that differ; None if the stored configuration is not the `recorded` one, or unreadable."""
    try:
        stored = run_folder.read_config(run)
        keys = run_folder.differences(with_defaults(stored), dict(claimed))  # a key newer than the run had its default
    except GenlabError:
        return None
    if config_hash(stored) != recorded:
        return None
    return [key for key in keys if not any(key == each or key.startswith(f"{each}.") for each in WATCHING)]


@functools.lru_cache(maxsize=1024)
def configuration(words: tuple[str, ...]) -> dict[str, Any]:
    """The checked configuration that `genlab train WORDS` stores."""
    load_registry()
    config = compose.check(_composer().compose(words).config)
    return warm_start.settled(config, Runtime(torch.device("cpu")))


@functools.cache
def _composer() -> compose.Composer:
    return compose.Composer()


def result(part: Claims, name: str, folder: Path, wanted: Evaluation) -> tuple[Path, dict[str, Any]] | None:
    """The result of this measurement at the end of the run `name`, which has finished, and its file; None without one.

    ConfigError if it was measured in another way, CheckpointError if it is damaged.
    """
    run, record = run_path(folder, name), _record(run_path(folder, name))
    config = configuration(tuple(part.of(name).overrides_of(name, folder)))
    evaluator = _evaluator(wanted, config)
    stem = evaluations.file_stem(wanted.name, wanted.split if evaluator.split else None, "", 0)
    path = evaluations.newest(run, stem.removesuffix("-00000000"))
    if path is None or record is None or evaluations.step_of(path.name) < record["step"]:
        return None
    found = evaluations.read(OwnFolder(run), path.name)
    if found is None:
        raise CheckpointError("the result is damaged", f"file {path}", "remove it and evaluate the run again")
    require(found["protocol"], _protocol(wanted, evaluator, config), path)
    return path, found


def require(protocol: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """ConfigError if the `protocol` of the result in `path` lacks an entry of `wanted`, or has another."""
    for key, value in wanted.items():
        actual = protocol.get(key)
        if actual != value:
            made, claimed = (json.dumps(each, default=str) for each in (actual, value))
            raise ConfigError(
                f"the result was made with {key} {made}, the claim is of {claimed}",
                f"file {path}",
                "remove it and evaluate the run again",
            )


def _protocol(wanted: Evaluation, evaluator: Evaluator, config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of the result's protocol that the options of `genlab eval` decide."""
    values = dict(option.split("=", 1) for option in wanted.options)
    repeats = int(values.get("repeats", evaluator.repeats))
    return {
        "evaluator": wanted.evaluator,
        "options": json.loads(json.dumps(changed_keys(evaluator))),
        "split": wanted.split if evaluator.split else None,
        "seed": int(values.get("seed", config["seed"])),
        **({"repeats": repeats} if repeats > 1 else {}),
    }


def _evaluator(wanted: Evaluation, config: Mapping[str, Any]) -> Evaluator:
    changes = overrides.parse([option for option in wanted.options if option.startswith("evaluator.")], {})
    found = configured(config, [wanted.evaluator], changes)
    if list(found) != [wanted.evaluator]:
        raise ConfigError(
            f"evaluator '{wanted.evaluator}' is {len(found)} evaluators", "claims, key evals", "name each of them"
        )
    return found[wanted.evaluator]


def metric(found: Mapping[str, Any], name: str, path: Path) -> float:
    """A metric of a record or result. ConfigError if it has none of this name, or if it is not finite."""
    metrics = found["metrics"]
    if name not in metrics:
        raise ConfigError(f"there is no metric '{name}'", f"file {path}", nearest(name, metrics))
    if metrics[name] is None:
        raise ConfigError(f"metric '{name}' is not finite", f"file {path}", "train the run again with another seed")
    return float(metrics[name])

"""Checks each section of a configuration against its constructor. Builds nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genlab.config import safety
from genlab.config.trainer_config import CheckpointConfig, TrainerConfig, with_defaults
from genlab.errors import ConfigError, nearest
from genlab.registry import (
    DATASETS,
    EVALUATORS,
    LOGGERS,
    MODELS,
    OPTIMIZERS,
    SCHEDULES,
    NonNegativeInt,
    Spec,
    check_keywords,
    signature_schema,
)


@dataclass(frozen=True)
class Root:
    """The keys of the root configuration, configs/train.yaml."""

    name: str
    seed: NonNegativeInt
    dry_run: bool
    model: dict[str, Any]
    dataset: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    trainer: dict[str, Any]
    checkpoint: dict[str, Any]
    evaluator: dict[str, Any]
    logger: dict[str, Any]


def check_frame(config: Mapping[str, Any]) -> None:
    """The part of `check` that needs no torch: the root, `trainer` and `checkpoint`."""
    safety.tree(dict(config))
    check_keywords(signature_schema(Root), config, "")
    check_keywords(signature_schema(TrainerConfig), config["trainer"], "trainer")
    check_keywords(signature_schema(CheckpointConfig), config["checkpoint"], "checkpoint")


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every bare name written as a mapping, so that both spellings have one hash.

    ConfigError names the key, the valid values, and the nearest name. Call `registry.discover()` first.
    """
    check_frame(config)
    checked = with_defaults(config)
    for section, registry in (("model", MODELS), ("dataset", DATASETS), ("schedule", SCHEDULES)):
        checked[section] = registry.check(config[section], section)
    if not isinstance(config["optimizer"].get("phases", {}), dict):
        raise ConfigError("bad value for 'optimizer.phases'", "it holds a mapping", "give optimizer.phases.NAME.lr=...")
    check_optimizer(config["optimizer"])
    for section, registry in (("evaluator", EVALUATORS), ("logger", LOGGERS)):
        entries = config[section].items()
        checked[section] = {key: spec and registry.check(spec, f"{section}.{key}") for key, spec in entries}
    return checked


def phase_spec(spec: Spec, phase: str) -> dict[str, Any]:
    """The optimizer spec of one phase: the common one updated by `phases.<phase>`."""
    common = {key: value for key, value in spec.items() if key != "phases"}
    return {**common, **(spec.get("phases") or {}).get(phase, {})}


def check_optimizer(spec: Spec) -> None:
    """ConfigError unless the common spec and that of each phase are valid."""
    OPTIMIZERS.check(phase_spec(spec, ""), "optimizer")
    for phase in spec.get("phases") or {}:
        if not isinstance(spec["phases"][phase], dict):
            raise ConfigError(
                f"'optimizer.phases.{phase}' is not a mapping",
                "the configuration",
                f"write optimizer.phases.{phase}.lr=...",
            )
        OPTIMIZERS.check(phase_spec(spec, phase), f"optimizer.phases.{phase}")


def check_phases(spec: Spec, phases: Iterable[str]) -> None:
    """ConfigError if `optimizer.phases` names a phase that the model does not have."""
    known = list(phases)
    for phase in spec.get("phases") or {}:
        if phase not in known:
            raise ConfigError(
                f"the model has no phase '{phase}'", f"key optimizer.phases.{phase}", nearest(phase, known)
            )

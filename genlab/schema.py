"""Every section of a configuration against the constructor that it is for. Builds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genlab import guard
from genlab.errors import ConfigError
from genlab.registry import (
    DATASETS,
    EVALUATORS,
    LOGGERS,
    MODELS,
    SCHEDULES,
    NonNegativeInt,
    check_keywords,
    signature_schema,
)
from genlab.settings import Saving, Settings


@dataclass(frozen=True)
class Root:
    """The keys of the root configuration, configs/train.yaml."""

    name: str
    seed: NonNegativeInt
    dry_run: bool
    plugins: list[str]
    model: dict[str, Any]
    dataset: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    trainer: dict[str, Any]
    checkpoint: dict[str, Any]
    evaluator: dict[str, Any]
    logger: dict[str, Any]


def check_frame(config: Mapping[str, Any]) -> None:
    """The part of `check` that needs no constructor, and so no torch: root, `trainer` and `checkpoint`."""
    guard.tree(dict(config))
    check_keywords(signature_schema(Root), config, "")
    check_keywords(signature_schema(Settings), config["trainer"], "trainer")
    check_keywords(signature_schema(Saving), config["checkpoint"], "checkpoint")


def check(config: Mapping[str, Any]) -> None:
    """ConfigError names the key, what it may be, and the nearest name. Call `registry.discover()` first."""
    from genlab.optimizers import check_optimizer

    check_frame(config)
    MODELS.check(config["model"], "model")
    DATASETS.check(config["dataset"], "dataset")
    SCHEDULES.check(config["schedule"], "schedule")
    if not isinstance(config["optimizer"].get("phases", {}), dict):
        raise ConfigError("bad value for 'optimizer.phases'", "it holds a mapping", "give optimizer.phases.NAME.lr=...")
    check_optimizer(config["optimizer"])
    for section, registry in (("evaluator", EVALUATORS), ("logger", LOGGERS)):
        for entry, spec in config[section].items():
            if spec is not None:
                registry.check(spec, f"{section}.{entry}")

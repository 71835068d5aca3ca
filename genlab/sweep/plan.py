"""The jobs of a sweep: one for each combination of values, each with its checked configuration."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genlab.config import compose, overrides
from genlab.errors import ConfigError
from genlab.runs.provenance import config_hash
from genlab.sweep import presets

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MAX_JOBS = 10_000
MAX_NAME = 80  # characters of the name of a job's folder
Combination = Sequence[tuple[str, bool]]  # the overrides of one job, and whether each varies within the sweep


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its overrides, those that vary, and a hash of its checked configuration."""

    overrides: list[str]
    varies: list[str]
    key: str
    composed: compose.Composed

    def folder(self, index: int) -> str:
        """The name of the job's run folder: `3-seed=1-beta=4`. It stands in TensorBoard's legend."""
        values = (word.rpartition("=") for word in self.varies)
        words = [f"{key.lstrip('+~').rpartition('.')[2]}={value}" for key, _, value in values]
        return re.sub(r"[^\w.=+-]", "_", "-".join([str(index), *words]), flags=re.ASCII)[:MAX_NAME].rstrip(".")


@dataclass(frozen=True)
class Plan:
    """All jobs and their folder. `named`: the command line chose the folder; otherwise another sweep may claim it."""

    jobs: list[Job]
    folder: Path
    named: bool


def plan(
    arguments: Sequence[str],
    config_dirs: Sequence[str] = (),
    plugins: Sequence[str] = (),
    device: str | None = None,
) -> Plan:
    """Every job. All are composed and checked before one starts; ConfigError for the first that is wrong."""
    from genlab.registry import discover, load_plugins

    composer = compose.Composer(config_dirs, plugins, device)
    parsed = overrides.parse(presets.expand(arguments, composer.folders), composer.groups, sweep=True, plugins=plugins)
    _refuse(parsed)
    choices = [_values(override, composer.groups) for override in parsed]
    if math.prod(len(values) for values in choices) > MAX_JOBS:
        raise _too_many()
    planned = [_composed(combination, composer) for combination in itertools.product(*choices)]
    discover()
    load_plugins(plugins)
    jobs = [_job(*each) for each in planned]
    named = any(o.key_or_group == "hydra.sweep.dir" for o in parsed)
    return Plan(jobs, jobs[0].composed.sweep_dir.absolute(), named)


def _refuse(parsed: Sequence[Override]) -> None:
    """ConfigError for a key that the sweep sets itself, or that must be the same in all jobs."""
    for override in parsed:
        key, where = override.key_or_group, f"override {str(override.input_line)[:60]!r}"
        if key == "hydra.run.dir":
            raise ConfigError("a sweep names its own run folders", where, "give hydra.sweep.dir=...")
        if override.is_sweep_override() and key.startswith("hydra"):
            raise ConfigError(f"'{key}' cannot vary within a sweep", where, f"give one {key}, quoted if it has commas")


def _too_many() -> ConfigError:
    return ConfigError(f"more than {MAX_JOBS} jobs", "command line", "sweep over fewer values")


def _composed(combination: Combination, composer: compose.Composer) -> tuple[Combination, compose.Composed]:
    composed = composer.compose([text for text, _ in combination])
    if composed.config.get("dry_run"):
        raise ConfigError(
            "a sweep has no dry run", "key dry_run", "list its jobs with -m --cfg job, or try one of them"
        )
    compose.precheck(composed.config, composed.plugins)
    return combination, composed


def _job(combination: Combination, composed: compose.Composed) -> Job:
    config = compose.check(composed.config)
    varying = [text for text, varies in combination if varies]
    return Job([text for text, _ in combination], varying, config_hash(config), replace(composed, config=config))


def _values(override: Override, groups: overrides.Groups) -> list[tuple[str, bool]]:
    """The override once per value of a sweep; as typed if there is one value."""
    from hydra.core.override_parser.types import Glob

    if not override.is_sweep_override():
        return [(str(override.input_line), False)]
    if not override.is_discrete_sweep():
        raise ConfigError(f"'{override.input_line}' has no list of values", "command line", "use a,b,c or range(0,10)")
    value, key = override.value(), override.get_key_element()
    known = groups.get(override.key_or_group, [])
    found = value.filter(known) if isinstance(value, Glob) else _listed(override)
    if not found:
        raise ConfigError(f"'{override.input_line}' has no values", "command line", "give some, e.g. seed=1,2,3")
    return [(f"{key}={item}", True) for item in found]


def _listed(override: Override) -> list[str]:
    """The values as text. A range is counted first, up to the limit: Hydra would list a shuffled one whole."""
    from hydra.core.override_parser.types import RangeSweep
    from hydra.errors import HydraException

    value = override.value()
    try:
        if isinstance(value, RangeSweep) and len(list(itertools.islice(value.range(), MAX_JOBS + 1))) > MAX_JOBS:
            raise _too_many()
        found = list(itertools.islice(override.sweep_string_iterator(), MAX_JOBS + 1))
    except (HydraException, ValueError, ArithmeticError) as error:  # range(0,5,0)
        raise ConfigError(
            f"'{override.input_line}' cannot be counted ({error})", "command line", "use e.g. range(0,10)"
        ) from None
    if len(found) > MAX_JOBS:
        raise _too_many()
    return found

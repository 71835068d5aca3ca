"""What a sweep consists of: the product of the values given, each job with its checked configuration."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import config, overrides
from genlab.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MAX_JOBS = 10_000


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its own overrides, which of them vary, and a hash of its resolved configuration."""

    overrides: list[str]
    varies: list[str]
    key: str
    composed: config.Composed


@dataclass(frozen=True)
class Plan:
    """All jobs, and the folder for them; `named` if the command line names it, else others may want it too."""

    jobs: list[Job]
    folder: Path
    named: bool


def plan(arguments: Sequence[str], config_dirs: Sequence[str]) -> Plan:
    """Every job, all of them composed and checked before any starts. ConfigError names the first that is wrong."""
    from genlab.registry import discover, load_plugins

    folders = [config.search_path(), *config.private_folders(config_dirs)]
    parsed = overrides.parse(arguments, overrides.groups(folders), sweep=True)
    refused = next(
        (o for o in parsed if o.key_or_group in ("hydra.run.dir", "plugins") and o.is_sweep_override()), None
    )
    if refused or any(o.key_or_group == "hydra.run.dir" for o in parsed):
        raise ConfigError(
            "a sweep names its own run folders",
            "override hydra.run.dir or plugins",
            "give hydra.sweep.dir=... and one list of plugins",
        )
    jobs = []
    for combination in itertools.islice(itertools.product(*(_values(o, folders) for o in parsed)), MAX_JOBS + 1):
        texts = [text for text, _ in combination]
        composed = config.compose(texts, config_dirs)
        jobs.append(Job(texts, [text for text, varies in combination if varies], _hash(composed.config), composed))
    if len(jobs) > MAX_JOBS:
        raise ConfigError(f"more than {MAX_JOBS} jobs", "command line", "sweep over fewer values")
    discover()
    load_plugins(jobs[0].composed.plugins)
    for job in jobs:
        config.check(job.composed.config)
    named = any(o.key_or_group == "hydra.sweep.dir" for o in parsed)
    return Plan(jobs, jobs[0].composed.sweep_dir.absolute(), named)


def _values(override: Override, folders: Sequence[Path]) -> list[tuple[str, bool]]:
    """The override once per value of a sweep; as it was typed where there is one value."""
    from hydra.core.override_parser.types import Glob

    if not override.is_sweep_override():
        return [(str(override.input_line), False)]
    if not override.is_discrete_sweep():
        raise ConfigError(f"'{override.input_line}' has no list of values", "command line", "use a,b,c or range(0,10)")
    value, key = override.value(), override.get_key_element()
    if isinstance(value, Glob):
        found = value.filter(overrides.groups(folders).get(override.key_or_group, []))
    else:
        found = list(override.sweep_string_iterator())
    if not found:
        raise ConfigError(f"'{override.input_line}' has no values", "command line", "give some, e.g. seed=1,2,3")
    return [(f"{key}={item}", True) for item in found]


def _hash(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

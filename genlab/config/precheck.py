"""The checks that run before torch is imported, which takes a second, with the errors of `genlab.config.schema`.

Each registered name has a YAML file with exactly the keys of its constructor (a test ensures it), so a name or key in
none of our files is unknown. Values, networks and plug-ins are left to the constructors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from genlab.config import schema
from genlab.config.yaml_comments import MODEL_CHOICES, values
from genlab.registry import unknown_key, unknown_name

GROUPS = ("model", "dataset", "schedule", "optimizer")  # sections that are one spec, in the order of the full check
OPEN_GROUPS = ("evaluator", "logger")  # sections of named specs
NOT_KEYS = {"name", *MODEL_CHOICES, "phases"}  # keys of a file that its constructor does not take
Known = dict[str, set[str]]  # registered name -> its constructor's keys


def check(config: Mapping[str, Any], folder: Path, plugins: bool) -> None:
    """ConfigError for a name or key of a composed configuration that no YAML file of genlab, in `folder`, has."""
    schema.check_frame(config)
    known = {group: known_specs(folder, group) for group in (*GROUPS, *OPEN_GROUPS)}
    for group, where, spec in _specs(config):
        name, names = spec.get("name"), known[group]
        if isinstance(name, str) and name in names:
            strange = [key for key in spec if key not in {"name", *names[name]}]
            if strange:
                raise unknown_key(strange[0], where, names[name])
        elif "name" in spec and not plugins and not entry_points(group="genlab.plugins"):
            raise unknown_name(group, name, where, names)


@functools.cache
def known_specs(folder: Path, group: str) -> Known:
    """Every name in the YAML files of a group with the keys next to it, including those of a file's bases."""
    found: Known = {}
    for path in (folder / group).glob("*.yaml"):
        content = values(path, [folder])
        for spec in content.values() if group in OPEN_GROUPS else [content]:
            if isinstance(spec, dict) and "name" in spec:
                found.setdefault(spec["name"], set()).update(spec.keys() - NOT_KEYS)
    return found


def _specs(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each spec with its group and dotted key. A phase's optimizer is merged with the keys common to all phases."""
    common = {key: value for key, value in config["optimizer"].items() if key != "phases"}
    for group in GROUPS:
        yield group, group, common if group == "optimizer" else config[group]
    phases = config["optimizer"].get("phases")
    for phase, own in phases.items() if isinstance(phases, dict) else ():
        if isinstance(own, dict):
            yield "optimizer", f"optimizer.phases.{phase}", {**common, **own}
    for group in OPEN_GROUPS:
        for entry, spec in config[group].items():
            if isinstance(spec, dict):
                yield group, f"{group}.{entry}", spec

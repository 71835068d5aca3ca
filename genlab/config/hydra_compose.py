"""Hydra's composition, from parsed overrides to plain data, its many exceptions turned into one line.

Everything that calls Hydra is here, and only its compose API is called: no logging, no launcher, no folder.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.config import overrides, safety
from genlab.errors import ConfigError, nearest

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

ROOT = "train"  # the root configuration: configs/train.yaml
KINDS = ("run", "sweep")
MAX_TREES = 64  # kept by a Composer, about a megabyte each


class Composer:
    """Composes configurations from the same folders; those that differ in single values share Hydra's work.

    `folders` are searched in order; the first holds the root configuration.
    """

    def __init__(self, folders: Sequence[Path], groups: overrides.Groups) -> None:
        self._folders, self._groups = folders, groups
        self._trees: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def compose(self, parsed: Sequence[Override]) -> tuple[dict[str, Any], dict[str, str]]:
        """The resolved configuration, and `{"run": ..., "sweep": ...}`: the folders it names. Only ConfigError."""
        tree = self._tree(parsed)
        raw = _container(tree, resolve=False)
        hydra = raw.pop("hydra")
        safety.tree({**raw, "hydra": {kind: hydra[kind]["dir"] for kind in KINDS}})
        config = {name: _read(partial(_value, tree, name), name) for name in raw}
        safety.tree(config)
        return config, {
            kind: str(_read(partial(_value, tree.hydra[kind], "dir"), f"hydra.{kind}.dir")) for kind in KINDS
        }

    def _tree(self, parsed: Sequence[Override]) -> DictConfig:
        """Hydra's tree: composed, or that of an earlier configuration with other values set in it."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        values = [override for override in parsed if overrides.is_single_value(override, parsed, self._groups)]
        shape = tuple(f"{each.key_or_group}=" if each in values else str(each.input_line) for each in parsed)
        hydra = HydraConfig.instance()  # what ${hydra:runtime.choices.model} reads
        if shape in self._trees:
            tree, hydra.cfg = self._trees[shape]
            for override in values:
                OmegaConf.update(tree, override.key_or_group, override.value(), merge=True)
            return tree
        if len(self._trees) >= MAX_TREES:
            self._trees.clear()
        tree = _compose(parsed, self._folders)
        hydra.set_config(tree)
        self._trees[shape] = tree, hydra.cfg
        return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Every dotted key of a nested mapping with its value, mappings included."""
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        found.append((f"{prefix}{name}", value))
        if isinstance(value, Mapping):
            found += flatten(value, f"{prefix}{name}.")
    return found


def _compose(parsed: Sequence[Override], folders: Sequence[Path]) -> DictConfig:
    try:
        return _hydra_compose(overrides.arguments(parsed), folders)
    except Exception as error:  # Hydra, OmegaConf, YAML and Python itself, according to what was typed
        known = _explained(folders, parsed)
        if known is not None:
            raise known from None
        raise ConfigError(
            f"the configuration cannot be composed ({_one_line(error)})",
            "command line or YAML",
            "correct the override or file named here",
        ) from None


def _hydra_compose(arguments: list[str], folders: Sequence[Path]) -> DictConfig:
    import hydra
    from hydra.core.override_parser.types import Quote, QuotedString

    base = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
    paths = [QuotedString(f"file://{folder}", Quote.single).with_quotes() for folder in folders[1:]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hydra's advice on its own versions is not for our users
        with hydra.initialize_config_dir(str(folders[0]), job_name="genlab", **base):
            return hydra.compose(ROOT, [*arguments, f"hydra.searchpath=[{','.join(paths)}]"], return_hydra_config=True)


def _explained(folders: Sequence[Path], parsed: Sequence[Override]) -> ConfigError | None:
    """What is wrong with the first override that does not fit the chosen groups; None if they all do."""
    known = overrides.groups(folders)
    chosen = [override for override in parsed if override.key_or_group in known]
    try:
        plain = _container(_hydra_compose(overrides.arguments(chosen), folders), resolve=False)
    except Exception:  # the groups alone do not compose: another fault than one override's
        return None
    del plain["hydra"]
    values = dict(flatten(plain))
    wrong = (
        _list_of_names(override, values) or _unknown_key(override, values, known)
        for override in parsed
        if override.key_or_group not in known
    )
    return next((error for error in wrong if error), None)


def _list_of_names(override: Override, values: Mapping[str, Any]) -> ConfigError | None:
    """A list where there are values by name."""
    key, given = override.key_or_group, None if override.is_sweep_override() else override.value()
    if not isinstance(given, list) or not isinstance(values.get(key), Mapping):
        return None
    entry = f"{given[0]}={{}}" if given and f"{key}." in overrides.ENTRIES else "KEY=VALUE"
    return ConfigError(f"'{key}' holds values by name, not a list", _shown(override), f"use {key}.{entry}")


def _unknown_key(override: Override, values: Mapping[str, Any], known: overrides.Groups) -> ConfigError | None:
    """A key that is not among `values`, or one like it in a mapping that is given; which is nearest."""
    key = override.key_or_group
    given = None if override.is_sweep_override() else override.value()
    if f"{key}.".startswith((*overrides.OPEN, "hydra")) and not override.is_delete():
        return None
    if override.get_key_element()[0] == "+":
        return None
    if key in values and isinstance(given, dict) and isinstance(values[key], Mapping):
        inside = [f"{key}.{name}" for name, _ in flatten(given)]
        key = next((name for name in inside if name not in values), key)
    if key in values:
        return None
    parent = key.rpartition(".")[0]
    siblings = {name for name in values if name.rpartition(".")[0] == parent} or set(values)
    deeper = [name for name in values if name.endswith(f".{key}")]  # batch_size for trainer.batch_size
    near = f"did you mean '{deeper[0]}'?" if deeper else nearest(key, siblings.union(() if parent else known))
    # a component's file need not list all that it takes; its schema judges what is added
    adding = f" '+{key[:60]}=...' gives '{parent}' a key that its file leaves out" if f"{parent}.name" in values else ""
    return ConfigError(f"unknown key '{key[:80]}'", _shown(override), near + adding)


def _shown(override: Override) -> str:
    return f"override {str(override.input_line)[:60]!r}"


def _container(tree: DictConfig, resolve: bool) -> dict[str, Any]:
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(tree, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}


def _value(tree: DictConfig, name: str) -> Any:
    from omegaconf import OmegaConf

    value = tree[name]
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _read(read: Callable[[], Any], key: str) -> Any:
    try:
        return read()
    except Exception as error:
        key = getattr(error, "full_key", None) or key
        if type(error).__name__ == "MissingMandatoryValue":
            raise ConfigError(f"missing value for '{key}'", f"key {key}", f"give {key}=...") from None
        raise ConfigError(
            f"bad interpolation ({_one_line(error)})", f"key {key}", "refer to a key that exists"
        ) from None


def _one_line(error: BaseException) -> str:
    """The first line that says something, from the cause where Hydra wraps one."""
    while not str(error).strip() and error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__

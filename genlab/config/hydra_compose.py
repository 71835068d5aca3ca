"""Hydra's composition, from parsed overrides to plain data, its many exceptions turned into one line.

Everything that calls Hydra is here, and only its compose API is called: no logging, no launcher, no folder.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.config import overrides, safety, yaml_comments
from genlab.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

ROOT = "train"  # the root configuration: configs/train.yaml
KINDS = ("run", "sweep")
MAX_TREES = 64  # kept by a Composer, about a megabyte each
_UNRESOLVED = re.compile(r"\$\{|\?\?\?")
_REFERENCE = re.compile(r"\$\{\s*[\w.]+\s*[\[}]|oc\.select")  # an interpolation that reads another key


class Composer:
    """Composes configurations from the same folders. Those that choose the same options share Hydra's work.

    `folders` are searched in order; the first holds the root configuration.
    """

    def __init__(self, folders: Sequence[Path], groups: overrides.Groups) -> None:
        self._folders, self._groups = folders, groups
        self._trees: dict[tuple[str, ...], tuple[dict[str, Any], Any]] = {}

    def compose(self, parsed: Sequence[Override]) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
        """The resolved configuration, `{"run": ..., "sweep": ...}`, the folders it names, and each group's option.

        Raises ConfigError alone.
        """
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        choices, values = overrides.split(parsed, self._groups)
        if choices not in self._trees:
            if len(self._trees) >= MAX_TREES:
                self._trees.clear()
            self._trees[choices] = _compose(choices, self._folders)
        chosen, hydra = self._trees[choices]
        HydraConfig.instance().cfg = hydra  # what ${hydra:runtime.choices.model} reads
        plain = overrides.assign(chosen, values, self._groups)
        safety.tree(plain)
        unresolved = {name: value for name, value in plain.items() if name == "hydra" or _UNRESOLVED.search(str(value))}
        tree = OmegaConf.create(plain if _REFERENCE.search(str(unresolved)) else unresolved)
        dirs = {kind: str(_read(partial(_value, tree.hydra[kind], "dir"), f"hydra.{kind}.dir")) for kind in KINDS}
        made = plain.pop("hydra")["runtime"]["choices"]
        config = plain | {name: _read(partial(_value, tree, name), name) for name in unresolved.keys() - {"hydra"}}
        safety.tree(config)
        return config, dirs, made


def _compose(choices: Sequence[str], folders: Sequence[Path]) -> tuple[dict[str, Any], Any]:
    """The chosen options as plain data, with what an interpolation may read of Hydra; and Hydra's own node."""
    try:
        tree = _hydra_compose(choices, folders)
    except Exception as error:  # Hydra, OmegaConf, YAML and Python itself, according to what was typed
        raise ConfigError(
            f"the configuration cannot be composed ({_one_line(error)})",
            "command line or YAML",
            "correct the override or file named here",
        ) from None
    plain = _container(tree)
    hydra = plain.pop("hydra")
    made = hydra["runtime"]["choices"]
    for group in yaml_comments.MODEL_CHOICES if isinstance(plain["model"], dict) else ():
        named = plain["model"].pop(group, "")
        if named != yaml_comments.from_model(group, "", made["model"], folders):
            raise ConfigError(
                f"'model.{group}' can be set only in the file of a model",
                "a configuration file",
                f"write 'override /{group}: NAME' in its defaults",
            )
    dirs = {kind: {"dir": hydra[kind]["dir"]} for kind in KINDS}
    return {**plain, "hydra": {**dirs, "runtime": {"choices": made}}}, tree


def _hydra_compose(choices: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    import hydra
    from hydra.core.override_parser.types import Quote, QuotedString
    from omegaconf import OmegaConf

    def from_model(group: str, default: str, *, _root_: DictConfig) -> str:  # of the choices made so far
        return yaml_comments.from_model(group, default, _root_.model, folders)

    OmegaConf.register_new_resolver("from_model", from_model, replace=True)
    base = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
    paths = [QuotedString(f"file://{folder}", Quote.single).with_quotes() for folder in folders[1:]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hydra's advice on its own versions is not for our users
        with hydra.initialize_config_dir(str(folders[0]), job_name="genlab", **base):
            return hydra.compose(ROOT, [*choices, f"hydra.searchpath=[{','.join(paths)}]"], return_hydra_config=True)


def _container(tree: DictConfig) -> dict[str, Any]:
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(tree, resolve=False)
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

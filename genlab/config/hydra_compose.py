"""Hydra's composition: from parsed overrides to plain data, each of its exceptions as one line.

Only this module calls Hydra, and only its compose API: no logging, no launcher, no folder.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.config import overrides, safety, yaml_comments
from genlab.config.trainer_config import with_defaults
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
        """The resolved configuration, its folders `{"run": ..., "sweep": ...}`, and the option of each group.

        Raises only ConfigError.
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
        dirs = {kind: str(_read(tree.hydra[kind], "dir", f"hydra.{kind}.dir")) for kind in KINDS}
        made = plain.pop("hydra")["runtime"]["choices"]
        config = plain | {name: _read(tree, name, name) for name in unresolved.keys() - {"hydra"}}
        safety.tree(config)
        return config, dirs, made


def _compose(choices: Sequence[str], folders: Sequence[Path]) -> tuple[dict[str, Any], Any]:
    """The chosen options as plain data, with the values of Hydra that an interpolation may read; and Hydra's tree."""
    from omegaconf import OmegaConf

    try:
        tree = _hydra_compose(choices, folders)
    except Exception as error:  # of Hydra, OmegaConf, YAML or Python, depending on the input
        raise ConfigError(
            f"the configuration cannot be composed ({overrides.first_line(error)})",
            "command line or YAML",
            "correct the override or file named here",
        ) from None
    plain: Any = OmegaConf.to_container(tree, resolve=False)
    hydra = plain.pop("hydra")
    made = hydra["runtime"]["choices"]
    model = plain.get("model")
    for group in yaml_comments.MODEL_CHOICES if isinstance(model, dict) else ():
        named = model.pop(group, "")
        if named != yaml_comments.from_model(group, "", made["model"], folders):
            raise ConfigError(
                f"'model.{group}' can be set only in the file of a model",
                "a configuration file",
                f"write 'override /{group}: NAME' in its defaults",
            )
    dirs = {kind: {"dir": hydra[kind]["dir"]} for kind in KINDS}
    return {**with_defaults(plain), "hydra": {**dirs, "runtime": {"choices": made}}}, tree


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
        warnings.simplefilter("ignore")  # about versions of Hydra, of no use to our users
        with hydra.initialize_config_dir(str(folders[0]), job_name="genlab", **base):
            return hydra.compose(ROOT, [*choices, f"hydra.searchpath=[{','.join(paths)}]"], return_hydra_config=True)


def _read(tree: DictConfig, name: str, key: str) -> Any:
    """The resolved value of `name`; `key` is its full key."""
    from omegaconf import OmegaConf

    try:
        found = tree[name]
        config = OmegaConf.is_config(found)
        return OmegaConf.to_container(found, resolve=True, throw_on_missing=True) if config else found
    except Exception as error:
        key = getattr(error, "full_key", None) or key
        if type(error).__name__ == "MissingMandatoryValue":
            raise ConfigError(f"missing value for '{key}'", f"key {key}", f"give {key}=...") from None
        raise ConfigError(
            f"bad interpolation ({overrides.first_line(error)})", f"key {key}", "refer to a key that exists"
        ) from None

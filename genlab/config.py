"""Where configurations are found, how they are composed, and how they are checked.

Hydra composes; it never constructs, logs or makes a folder. The result is plain data: dicts, lists, text, numbers.
Importing this module loads neither Hydra nor torch.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import guard, overrides
from genlab.errors import ConfigError, nearest

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

ROOT = "train"  # the root configuration: configs/train.yaml


@dataclass(frozen=True)
class Composed:
    """A resolved configuration and what is known of its run before anything is built.

    `run_dir` is the folder given as hydra.run.dir on the command line, else None; `default_dir` the folder that the
    configuration names. `sweep_dir` is where `train -m` puts its jobs.
    """

    config: dict[str, Any]
    run_dir: Path | None
    default_dir: Path
    sweep_dir: Path
    overrides: list[str]
    plugins: list[str]
    config_dirs: list[str]


def search_path() -> Path:
    """The folder of genlab's own configurations: in the installed package, or at the top of the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def compose(arguments: Sequence[str], config_dirs: Sequence[str] = ()) -> Composed:
    """Compose, guard and resolve a configuration; only ConfigError is raised and nothing is written.

    `arguments` are Hydra overrides (`model=vae`, `trainer.steps=10`, `+x.y=1`); `config_dirs` are private folders
    laid out like `configs/`, whose files add to the shipped ones.
    """
    folders = [search_path(), *private_folders(config_dirs)]
    known = overrides.groups(folders)
    parsed = overrides.parse(list(arguments), known)
    given = {override.key_or_group: override for override in parsed}
    tree = _compose(overrides.arguments(parsed), folders, parsed)
    run_dir, sweep_dir = (Path(guard.run_path(_directory(tree, kind), f"key hydra.{kind}.dir"))
                          for kind in ("run", "sweep"))
    config = _plain(tree)
    if config.get("plugins") and "plugins" not in given:
        raise ConfigError("'plugins' is honoured only from the command line", "key plugins",
                          "give plugins=[...] on the command line")
    return Composed(
        config, run_dir if "hydra.run.dir" in given else None, run_dir, sweep_dir, list(arguments),
        _plugins(config), [str(folder) for folder in folders[1:]],
    )


def check(config: Mapping[str, Any]) -> None:
    """Check every section against its constructor's signature; see `genlab.schema.check`."""
    from genlab.schema import check as check_sections

    check_sections(config)


def override_stored(stored: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """A copy of a run's stored configuration with single keys changed (`trainer.steps=2000`), for `resume`.

    Groups cannot be exchanged: a run keeps its model and its data. ConfigError for an unknown key.
    """
    config: dict[str, Any] = copy.deepcopy(dict(stored))
    for override in overrides.parse(list(arguments), {}):
        key, shown = override.key_or_group, f"override {str(override.input_line)[:60]!r}"
        if key.startswith("hydra") or override.package or override.get_key_element()[0] in "+~":
            raise ConfigError(f"'{key}' cannot be changed in an existing run", shown, "give key=value, e.g. trainer.steps")
        *path, last = key.split(".")
        section: Any = config
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            known = [name for name, _ in flatten(config)]
            raise ConfigError(f"unknown key '{key[:80]}'", shown, nearest(key, known))
        if isinstance(section[last], dict):
            raise ConfigError(f"'{key}' is a group; a run keeps what it was made of", shown, f"change {key}.KEY=VALUE")
        section[last] = override.value()
    if "${" in str(config):
        raise ConfigError("an interpolation cannot be used on an existing run", "command line", "write the value")
    guard.tree(config)
    return config


def plugin_names(arguments: Sequence[str]) -> list[str]:
    """The modules that `plugins=[a,b]` among some overrides names."""
    parsed = overrides.parse([item for item in arguments if item.startswith("plugins=")], {})
    return _plugins({"plugins": parsed[-1].value()}) if parsed else []


def as_yaml(config: Mapping[str, Any]) -> str:
    """A resolved configuration as YAML text, keys in their order."""
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Every dotted key of a nested mapping with its value, mappings included."""
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        found.append((f"{prefix}{name}", value))
        if isinstance(value, Mapping):
            found += flatten(value, f"{prefix}{name}.")
    return found


def private_folders(config_dirs: Sequence[str]) -> list[Path]:
    """The --config-dir folders, each of their files checked before Hydra reads any."""
    own = search_path().resolve()
    shipped = {path.relative_to(own).as_posix() for path in own.rglob("*.yaml")}
    folders = []
    for name in config_dirs:
        guard.text(name, "--config-dir")
        folder = Path(name).resolve()
        if folder == own or folder in folders:
            continue
        clash = sorted(shipped.intersection(guard.config_files(folder)))
        if clash:
            raise ConfigError(f"'{clash[0]}' is also the name of a file of genlab", f"--config-dir {name}",
                              "give your file another name")
        shipped.update(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))
        folders.append(folder)
    return folders


def _compose(arguments: list[str], folders: Sequence[Path], parsed: Sequence[Override]) -> DictConfig:
    """Hydra's composition, its many exceptions turned into one line."""
    try:
        return _hydra_compose(arguments, folders)
    except ConfigError:
        raise
    except Exception as error:  # Hydra, OmegaConf, YAML and Python itself, according to what was typed
        unknown = _unknown_key(folders, parsed)
        if unknown is not None:
            raise unknown from None
        raise ConfigError(f"the configuration cannot be composed ({_one_line(error)})", "command line or YAML",
                          "correct the override or file named here") from None


def _hydra_compose(arguments: list[str], folders: Sequence[Path]) -> DictConfig:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.types import Quote, QuotedString

    base = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
    paths = [QuotedString(f"file://{folder}", Quote.single).with_quotes() for folder in folders[1:]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hydra's advice on its own versions is not for our users
        with hydra.initialize_config_dir(str(folders[0]), job_name="genlab", **base):
            tree = hydra.compose(ROOT, [*arguments, f"hydra.searchpath=[{','.join(paths)}]"], return_hydra_config=True)
            HydraConfig.instance().set_config(tree)  # what ${hydra:runtime.choices.model} reads
    return tree


def _unknown_key(folders: Sequence[Path], parsed: Sequence[Override]) -> ConfigError | None:
    """If some override names a key that the chosen groups do not have: the error that says which is nearest."""
    from omegaconf import OmegaConf

    known = overrides.groups(folders)
    chosen = [override for override in parsed if override.key_or_group in known]
    try:
        plain = OmegaConf.to_container(_hydra_compose(overrides.arguments(chosen), folders))
    except Exception:  # the groups alone do not compose: another fault than an unknown key
        return None
    assert isinstance(plain, dict)
    del plain["hydra"]
    keys = [name for name, _ in flatten({str(name): value for name, value in plain.items()})]
    for override in parsed:
        key = override.key_or_group
        adds = override.get_key_element()[0] == "+" or key.startswith((overrides.OPEN, "hydra"))
        if key in known or adds or key in keys:
            continue
        parent = key.rpartition(".")[0]
        siblings = {name for name in keys if name.rpartition(".")[0] == parent} or set(keys)
        return ConfigError(f"unknown key '{key[:80]}'", f"override {str(override.input_line)[:60]!r}",
                           nearest(key, siblings.union(() if parent else known)))
    return None


def _one_line(error: BaseException) -> str:
    """The first line that says something, from the cause where Hydra wraps one."""
    while not str(error).strip() and error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def _directory(tree: DictConfig, kind: str) -> str:
    node = tree.hydra[kind]
    raw = node._get_node("dir")._value()
    guard.text(str(raw), f"key hydra.{kind}.dir")
    return str(_resolved(lambda: node.dir, f"hydra.{kind}.dir"))


def _plain(tree: DictConfig) -> dict[str, Any]:
    """The user's part of the tree, guarded, resolved and guarded again."""
    from omegaconf import OmegaConf

    config: dict[str, Any] = {}
    for name in tree:
        if name == "hydra":
            continue
        node = tree._get_node(name)
        raw = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node._value()
        guard.tree({str(name): raw})
        config[str(name)] = _resolved(lambda name=name: _value(tree, name), str(name))
    guard.tree(config)
    return config


def _value(tree: DictConfig, name: Any) -> Any:
    from omegaconf import OmegaConf

    value = tree[name]
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


def _resolved(read: Any, key: str) -> Any:
    try:
        return read()
    except Exception as error:
        missing = type(error).__name__ == "MissingMandatoryValue"
        key = getattr(error, "full_key", None) or key
        raise ConfigError(
            f"missing value for '{key}'" if missing else f"bad interpolation ({_one_line(error)})",
            f"key {key}", f"give {key}=..." if missing else "refer to a key that exists",
        ) from None


def _plugins(config: Mapping[str, Any]) -> list[str]:
    names = config.get("plugins") or []
    if not isinstance(names, list) or not all(
        isinstance(name, str) and all(part.isidentifier() for part in name.split(".")) for name in names
    ):
        raise ConfigError(f"bad plugins {str(names)[:80]!r}", "key plugins", "give module names: plugins=[my_package]")
    return names

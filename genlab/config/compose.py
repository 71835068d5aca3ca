"""How configurations are found, composed and checked.

Hydra only composes: it constructs nothing, logs nothing and creates no folder. The result is plain data.
Importing this module loads neither Hydra nor torch.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genlab.config import hydra_compose, overrides, safety
from genlab.errors import ConfigError, nearest
from genlab.utils.paths import user_path
from genlab.utils.unique_folder import check_path


@dataclass(frozen=True)
class Composed:
    """A resolved configuration and its command line.

    `run_dir` is hydra.run.dir if the command line sets it, else None; `default_dir` is the run folder that the
    configuration names, `sweep_dir` the folder for the jobs of `train -m`. `choices` maps each group to its option.
    """

    config: dict[str, Any]
    run_dir: Path | None
    default_dir: Path
    sweep_dir: Path
    overrides: list[str]
    plugins: list[str]
    flags: list[str]
    choices: dict[str, str]

    def words(self) -> list[str]:
        """The arguments that follow `genlab train`."""
        return [*self.flags, *self.overrides]


def search_path() -> Path:
    """The folder of genlab's own configurations: in the installed package, or at the top of the repository."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def flags(config_dirs: Sequence[str] = (), plugins: Sequence[str] = (), device: str | None = None) -> list[str]:
    """The flags of a command as words."""
    named = [("--config-dir", config_dirs), ("--plugin", plugins), ("--device", [device] if device else [])]
    return [word for flag, values in named for value in values for word in (flag, value)]


def compose(
    arguments: Sequence[str],
    config_dirs: Sequence[str] = (),
    plugins: Sequence[str] = (),
    device: str | None = None,
) -> Composed:
    """Compose and resolve a configuration. Raises only ConfigError and writes nothing.

    `arguments` are Hydra overrides (`model=vae`, `trainer.steps=10`, `+x.y=1`); `config_dirs` are folders with the
    layout of `configs/`, whose files add to the shipped ones; `device` overrides trainer.device.
    """
    return Composer(config_dirs, plugins, device).compose(arguments)


class Composer:
    """Composes many configurations from the same folders, which are read once."""

    def __init__(self, config_dirs: Sequence[str] = (), plugins: Sequence[str] = (), device: str | None = None) -> None:
        self.plugins, self.device = list(plugins), device
        _find(plugins)
        self.folders = [search_path(), *private_folders(config_dirs)]
        self.groups = overrides.groups(self.folders)
        self._hydra = hydra_compose.Composer(self.folders, self.groups)

    def compose(self, arguments: Sequence[str]) -> Composed:
        """As the function of this name does."""
        parsed = overrides.parse([*arguments, *on_device(self.device)], self.groups, plugins=self.plugins)
        config, hydra_dirs, choices = self._hydra.compose(parsed)
        run_dir, sweep_dir = (check_path(hydra_dirs[kind]) for kind in ("run", "sweep"))
        dataset = config.get("dataset")
        for key in ("root", "path"):  # a stored run must find its data from any folder
            if isinstance(dataset, dict) and isinstance(dataset.get(key), str):
                dataset[key] = str(user_path(dataset[key], f"key dataset.{key}").absolute())
        return Composed(
            config,
            run_dir if any(override.key_or_group == "hydra.run.dir" for override in parsed) else None,
            run_dir,
            sweep_dir,
            list(arguments),
            self.plugins,
            flags([str(folder) for folder in self.folders[1:]], self.plugins, self.device),
            choices,
        )


def _find(plugins: Sequence[str]) -> None:
    """ConfigError for a plug-in of no installed package: without it, the names that it registers look unknown."""
    for name in plugins:
        package = name.partition(".")[0]
        if not package or (package not in sys.modules and find_spec(package) is None):  # imports nothing
            raise ConfigError(f"there is no plug-in '{name}'", "--plugin", "install it or put its folder on PYTHONPATH")


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` as it is stored, each section checked against its constructor; see `genlab.config.schema.check`."""
    from genlab.config.schema import check as check_sections

    return check_sections(config)


def on_device(device: str | None) -> list[str]:
    """The override that --device stands for."""
    return [f"trainer.device='{device}'"] if device else []


def precheck(config: Mapping[str, Any], plugins: Sequence[str] = ()) -> None:
    """The part of `check` that needs neither torch nor plug-ins; see `genlab.config.precheck`."""
    from genlab.config.precheck import check as check_early

    check_early(config, search_path(), bool(plugins))


def override_stored(stored: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """A copy of a run's stored configuration with single keys changed (`trainer.steps=2000`), for `resume`.

    Groups cannot change: a run keeps its model and its data. ConfigError for an unknown key.
    """
    config: dict[str, Any] = copy.deepcopy(dict(stored))
    for override in overrides.parse(list(arguments), {}):
        key, shown = override.key_or_group, f"override {str(override.input_line)[:60]!r}"
        if key.startswith("hydra") or override.package or override.get_key_element()[0] in "+~":
            raise ConfigError(
                f"'{key}' cannot be changed in an existing run", shown, "give key=value, e.g. trainer.steps"
            )
        *path, last = key.split(".")
        section: Any = config
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            raise ConfigError(f"unknown key '{key[:80]}'", shown, nearest(key, overrides.flatten(config)))
        off = override.value() is None and path in (["evaluator"], ["logger"])
        if isinstance(section[last], dict) and not off:
            problem = f"'{key}' is a group, which an existing run keeps"
            one = f", or switch one off: {key}.{next(iter(section[last]), 'NAME')}=null"
            raise ConfigError(problem, shown, f"change {key}.KEY=VALUE" + (one if key in overrides.MANY else ""))
        section[last] = override.value()
    if "${" in str(config):
        raise ConfigError("an interpolation cannot be used on an existing run", "command line", "write the value")
    safety.tree(config)
    return config


def private_folders(config_dirs: Sequence[str]) -> list[Path]:
    """The --config-dir folders. All their files are checked before Hydra reads one."""
    own = search_path().resolve()
    shipped = {path.relative_to(own).as_posix() for path in own.rglob("*.yaml")}
    folders = []
    for name in config_dirs:
        safety.text(name, "--config-dir")
        folder = user_path(name, "--config-dir").resolve()
        if folder == own or folder in folders:
            continue
        clash = sorted(shipped.intersection(safety.config_files(folder)))
        if clash:
            raise ConfigError(
                f"genlab has a file '{clash[0]}' too",
                f"--config-dir {name}",
                "give your file another name",
            )
        shipped.update(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))
        folders.append(folder)
    return folders

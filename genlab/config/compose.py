"""Where configurations are found, how they are composed, and how they are checked.

Hydra composes; it never constructs, logs or makes a folder. The result is plain data: dicts, lists, text, numbers.
Importing this module loads neither Hydra nor torch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.config import hydra_compose, overrides, safety
from genlab.errors import ConfigError, nearest
from genlab.utils.unique_folder import check_path


@dataclass(frozen=True)
class Composed:
    """A resolved configuration and what is known of its run before anything is built.

    `run_dir` is the folder given as hydra.run.dir on the command line, else None; `default_dir` the folder that the
    configuration names. `sweep_dir` is where `train -m` puts its jobs. `flags` are those of the command, as words.
    `choices` maps each group to its chosen option.
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
    """Compose, guard and resolve a configuration; only ConfigError is raised and nothing is written.

    `arguments` are Hydra overrides (`model=vae`, `trainer.steps=10`, `+x.y=1`); `config_dirs` are private folders
    laid out like `configs/`, whose files add to the shipped ones; `device` is the value of trainer.device.
    """
    return Composer(config_dirs, plugins, device).compose(arguments)


class Composer:
    """`compose` for many configurations with the same folders, which are looked at once."""

    def __init__(self, config_dirs: Sequence[str] = (), plugins: Sequence[str] = (), device: str | None = None) -> None:
        self.plugins, self.device = list(plugins), device
        self.folders = [search_path(), *private_folders(config_dirs)]
        self.groups = overrides.groups(self.folders)
        self._hydra = hydra_compose.Composer(self.folders, self.groups)

    def compose(self, arguments: Sequence[str]) -> Composed:
        """See the function of the same name."""
        parsed = overrides.parse([*arguments, *on_device(self.device)], self.groups)
        given = {override.key_or_group: override for override in parsed}
        config, hydra_dirs, choices = self._hydra.compose(parsed)
        run_dir, sweep_dir = (check_path(hydra_dirs[kind]) for kind in ("run", "sweep"))
        dataset = config.get("dataset")
        for key in ("root", "path"):  # a stored run must find its data from any folder
            if isinstance(dataset, dict) and isinstance(dataset.get(key), str) and dataset[key]:
                dataset[key] = str(Path(dataset[key]).expanduser().absolute())
        return Composed(
            config,
            run_dir if "hydra.run.dir" in given else None,
            run_dir,
            sweep_dir,
            list(arguments),
            self.plugins,
            flags([str(folder) for folder in self.folders[1:]], self.plugins, self.device),
            choices,
        )


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` as it is stored, each section checked against its constructor; see `genlab.config.schema.check`."""
    from genlab.config.schema import check as check_sections

    return check_sections(config)


def on_device(device: str | None) -> list[str]:
    """The override that --device stands for."""
    return [f"trainer.device='{device}'"] if device else []


def precheck(config: Mapping[str, Any], plugins: Sequence[str] = ()) -> None:
    """What of `check` needs no constructor, and so neither torch nor plug-ins; see `genlab.config.precheck`."""
    from genlab.config.precheck import check as check_early

    check_early(config, search_path(), bool(plugins))


def override_stored(stored: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """A copy of a run's stored configuration with single keys changed (`trainer.steps=2000`), for `resume`.

    Groups cannot be exchanged: a run keeps its model and its data. ConfigError for an unknown key.
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
        off = override.value() is None and path in (["evaluator"], ["logger"])  # one that is not wanted any more
        if isinstance(section[last], dict) and not off:
            said = f"'{key}' is a group; a run keeps what it was made of"
            one = f", or switch one off: {key}.{next(iter(section[last]), 'NAME')}=null"
            raise ConfigError(said, shown, f"change {key}.KEY=VALUE" + (one if key in ("evaluator", "logger") else ""))
        section[last] = override.value()
    if "${" in str(config):
        raise ConfigError("an interpolation cannot be used on an existing run", "command line", "write the value")
    safety.tree(config)
    return config


def as_yaml(config: Mapping[str, Any]) -> str:
    """A resolved configuration as YAML text, keys in their order."""
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def private_folders(config_dirs: Sequence[str]) -> list[Path]:
    """The --config-dir folders, each of their files checked before Hydra reads any."""
    own = search_path().resolve()
    shipped = {path.relative_to(own).as_posix() for path in own.rglob("*.yaml")}
    folders = []
    for name in config_dirs:
        safety.text(name, "--config-dir")
        folder = Path(name).resolve()
        if folder == own or folder in folders:
            continue
        clash = sorted(shipped.intersection(safety.config_files(folder)))
        if clash:
            raise ConfigError(
                f"'{clash[0]}' is also the name of a file of genlab",
                f"--config-dir {name}",
                "give your file another name",
            )
        shipped.update(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))
        folders.append(folder)
    return folders

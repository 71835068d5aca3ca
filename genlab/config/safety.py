"""Refuses configurations that hold code to run, secrets or bombs, whoever wrote them.

Nothing here executes or resolves anything. Text is looked at before Hydra sees it; a run folder's stored
configuration can be passed through the same checks.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genlab.errors import ConfigError

RESERVED = re.compile(r"_\w*_")  # Hydra's own words: _target_, _partial_, _recursive_, _convert_, _args_, ...
HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.verbose", "hydra/launcher", "hydra/sweeper")
HYDRA_ADVICE = f"genlab allows only {', '.join(HYDRA_KEYS[:3])}"

MAX_FILE = 1_000_000  # bytes
MAX_FILES = 1_000  # in one --config-dir
MAX_DEPTH = 16
MAX_EVENTS = 10_000  # a YAML file's scalars, lists and mappings, roughly
MAX_TEXT = 4_096  # characters of one value

# A plain reference, and the four resolvers that read nothing but the configuration and the clock.
_NODE = r"\.*(?!hydra\b)\w+(?:\.\w+|\[\w+\])*"
ALLOWED_INTERPOLATION = re.compile(
    r"\$\{\s*(?:" + _NODE + r"|hydra\.runtime\.choices\.\w+|hydra:runtime\.choices\.\w+"
    r"|now:[%\w .:_-]*|oc\.select:\s*(?!hydra\b)[\w.]+\s*(?:,\s*[\w.-]*\s*)?)\s*\}"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HYDRA = re.compile(r"\bhydra\b")
_PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)", re.MULTILINE)


def text(value: str, where: str) -> None:
    """Refuse control characters, over-long text, and interpolations that could read more than the config."""
    if _CONTROL.search(value):
        raise ConfigError("control characters in a value", where, "remove them")
    if len(value) > MAX_TEXT:
        raise ConfigError(f"a value of {len(value)} characters", where, f"the limit is {MAX_TEXT}")
    if "${" in ALLOWED_INTERPOLATION.sub("", value):
        raise ConfigError(
            f"interpolation {value[:80]!r} is not allowed: what it reads, a secret perhaps, would be stored",
            where,
            "write the value, or use a plain ${key}, ${now:...}, ${oc.select:...} or ${hydra:runtime.choices.GROUP}",
        )


def key(name: str, where: str) -> None:
    if RESERVED.fullmatch(name.strip()):
        raise ConfigError(
            f"'{name.strip()}' is refused: no configuration can call code",
            where,
            "say which registered object is meant with 'name: ...'",
        )
    text(name, where)


def tree(value: Any, path: str = "", depth: int = 0) -> None:
    """Refuse anything in a nested configuration value that is not plain, finite, shallow data."""
    where = f"key {path}"
    if depth > MAX_DEPTH:
        raise ConfigError("too deeply nested", where, f"at most {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise ConfigError(f"the key {name!r} is not text", where, "put it in quotes")
            inner = f"{path}.{name}" if path else name
            key(name, f"key {inner}")
            tree(item, inner, depth + 1)
    elif isinstance(value, list):
        for item in value:
            tree(item, path, depth + 1)
    elif isinstance(value, str):
        text(value, where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"the value {value} is not finite", where, "give a finite number")
    elif not isinstance(value, bool | int | float | None):
        raise ConfigError(f"a value of type {type(value).__name__}", where, "use text, numbers, lists and mappings")


def config_files(folder: Path) -> dict[str, Path]:
    """Check every YAML file of a private configuration folder; return them by path relative to it."""
    if not folder.is_dir():
        raise ConfigError(f"no configuration folder '{folder}'", "--config-dir", "give an existing folder")
    files: dict[str, Path] = {}
    for path in _yaml_files(folder):
        relative = path.relative_to(folder).as_posix()
        if relative.split("/")[0] == "hydra":
            raise ConfigError("the group hydra is refused", f"file {path}", HYDRA_ADVICE)
        config_file(path)
        files[relative] = path
    return files


def _yaml_files(folder: Path) -> Iterator[Path]:
    """All YAML files below `folder`, which must be small and without links: it could be a home directory."""
    count = 0
    for parent, folders, files in os.walk(folder):
        linked = next((name for name in folders if os.path.islink(os.path.join(parent, name))), None)
        if linked is not None:
            raise ConfigError(f"'{linked}' is a link to a folder", f"--config-dir {folder}", "use real folders")
        count += len(files) + len(folders)
        if count > MAX_FILES:
            raise ConfigError(f"more than {MAX_FILES} files", f"--config-dir {folder}", "use a smaller folder")
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(".yaml"))


def config_file(path: Path) -> None:
    """Refuse a YAML file that is too large, not text, a bomb, or asks for more than data."""
    where = f"file {path}"
    if not path.is_file():
        raise ConfigError("not a regular file", where, "remove it")
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ConfigError(f"a configuration file of {size} bytes", where, f"the limit is {MAX_FILE}")
        content = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read it ({error.strerror})", where, "check its permissions") from None
    except UnicodeDecodeError:
        raise ConfigError("not a text file", where, "write it as UTF-8 YAML") from None
    for package in _PACKAGE.findall(content):
        if _HYDRA.search(package):
            raise ConfigError(f"package '{package}' is refused", where, HYDRA_ADVICE)
    _document(content, where)


def _loader() -> Any:
    """libyaml's parser where PyYAML has it: twenty times faster, and the same language."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _document(content: str, where: str) -> None:
    import yaml

    try:
        _events(content, where)
        root = yaml.compose(content, Loader=_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"not valid YAML ({problem})", where + line, "correct the file") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError("a configuration file must hold 'key: value' lines", where, "correct the file")
    _nodes(root, where)
    for name_node, value in root.value:
        name = str(name_node.value)
        if name.split(".")[0] == "hydra":
            _hydra_node(name, value, where)
        elif name == "defaults":
            _defaults_node(value, where)
        elif name.split(".")[0] == "plugins" and any(_scalars(value)):
            raise ConfigError("'plugins' is allowed only on the command line", where, "give plugins=[...] there")


def _events(content: str, where: str) -> None:
    """Count before building: aliases, which multiply, are refused; depth and number are limited."""
    import yaml

    depth = 0
    for count, event in enumerate(yaml.parse(content, Loader=_loader())):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                "YAML aliases (*name) are not supported",
                f"{where}, line {event.start_mark.line + 1}",
                "repeat the value, or refer to it with ${key}",
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError("too deeply nested", where, f"at most {MAX_DEPTH} levels")
        if count > MAX_EVENTS:
            raise ConfigError("too many entries", where, f"at most about {MAX_EVENTS // 2}")


def _nodes(node: Any, where: str) -> None:
    import yaml

    line = f"{where}, line {node.start_mark.line + 1}"
    if not re.fullmatch(r"tag:yaml\.org,2002:(map|seq|str|int|float|bool|null|timestamp|merge)", node.tag):
        raise ConfigError(f"the YAML tag '{node.tag[:80]}' is refused", line, "use plain values")
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _nodes(value, where)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            _key_node(name, seen, where)
            _nodes(value, where)
    else:
        text(node.value, line)


def _key_node(node: Any, seen: set[str], where: str) -> None:
    import yaml

    line = f"{where}, line {node.start_mark.line + 1}"
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError("a key that is not text", line, "correct it")
    key(node.value, line)
    if node.value in seen:
        raise ConfigError(f"duplicate key '{node.value[:60]}'", line, "keep one")
    seen.add(node.value)


def _defaults_node(node: Any, where: str) -> None:
    for entry in _scalars(node):
        if _HYDRA.search(entry):
            raise ConfigError("a defaults list may not touch the group hydra", where, HYDRA_ADVICE)
        if ".." in entry:
            raise ConfigError(f"'{entry[:60]}' leads out of the folder", where, "name files of this folder or genlab's")


def _hydra_node(name: str, node: Any, where: str) -> None:
    import yaml

    if isinstance(node, yaml.MappingNode) and node.value and name not in HYDRA_KEYS:
        for child, value in node.value:
            _hydra_node(f"{name}.{child.value}", value, where)
    elif name not in HYDRA_KEYS[:2]:
        raise ConfigError(f"'{name}' is refused in a configuration file", where, HYDRA_ADVICE)


def _scalars(node: Any) -> Iterator[str]:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        yield str(node.value)
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _scalars(name)
            yield from _scalars(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value)

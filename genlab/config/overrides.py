"""Command-line overrides: parsed by Hydra's grammar, checked before Hydra composes, and set in the composed tree.

The options of a group are files, so an unknown name is answered with the nearest existing one.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.config import safety
from genlab.config.yaml_comments import MODEL_CHOICES
from genlab.errors import ConfigError, nearest
from genlab.utils.unique_folder import check_path

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MAX_OVERRIDES = 500
MANY = ("evaluator", "logger")  # groups that take several options: evaluator=[objective,samples]
OPTIONAL = ("recipe", "experiment", "workload", "debug")  # groups that can be null
# mappings by phase and by regularizer, to which entries are added without '+'
ENTRIES = ("optimizer.phases.", "model.regularizers.")
DELETABLE = ("evaluator.", "logger.", *ENTRIES)

# a value such as ~/runs, which Hydra's grammar takes only in quotes
UNQUOTED_TILDE = re.compile(r"""^([^=]+=)([^'"\\\s,{}()\[\]]*~[^'"\\\s,{}()\[\]]*)$""")

Groups = Mapping[str, Sequence[str]]


def groups(folders: Sequence[Path]) -> dict[str, list[str]]:
    """`{"model": ["autoencoder", "vae", ...], ...}`: the options of every group below these folders."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            if entry.is_dir() and not entry.name.startswith((".", "_")):
                files = entry.rglob("[!_]*.yaml")  # _*.yaml is a base of other files
                options = (path.relative_to(entry).with_suffix("").as_posix() for path in files)
                found.setdefault(entry.name, set()).update(options)
    return {name: sorted(options) for name, options in sorted(found.items())}


def parse(overrides: Sequence[str], known: Groups, sweep: bool = False, plugins: Sequence[str] = ()) -> list[Override]:
    """Hydra's `Override` objects, in order. ConfigError for bad grammar, refused keys and unknown options."""
    if len(overrides) > MAX_OVERRIDES:
        raise ConfigError(f"{len(overrides)} overrides", "command line", f"at most {MAX_OVERRIDES}; use a YAML file")
    parsed = []
    for argument in overrides:
        _plain(argument)
        override = _grammar(argument)
        _allowed(override, argument)
        if override.is_sweep_override() and not sweep:
            raise ConfigError(
                f"'{argument[:80]}' is a sweep over several values",
                "command line",
                "add -m to run them all, or write [a,b] for a list and 'a,b' in quotes for text",
            )
        _option(override, argument, known, plugins)
        parsed.append(override)
    return parsed


def split(parsed: Sequence[Override], known: Groups) -> tuple[tuple[str, ...], list[Override]]:
    """The choices of options, as Hydra takes them, and the values, outer keys first. The last of equal keys counts."""
    choices: list[str] = []
    values: list[Override] = []
    for override in {override.get_key_element(): override for override in parsed}.values():
        key = override.key_or_group
        if key not in known and not override.package and not key.startswith("hydra") and "/" not in key:
            values.append(override)
        elif key not in OPTIONAL or override.is_delete() or override.value() is not None:
            choices.append(str(override.input_line))
        elif key == "recipe":
            choices.append("~recipe")
    return tuple(choices), sorted(values, key=lambda override: override.key_or_group.removesuffix(".name").count("."))


def assign(chosen: Mapping[str, Any], values: Sequence[Override], known: Groups) -> dict[str, Any]:
    """A copy of `chosen` with the values of the command line in it. ConfigError for an unknown key."""
    tree: dict[str, Any] = copy.deepcopy(dict(chosen))
    empty = {key for key, value in flatten(tree).items() if value is None or value == {}}
    for override in values:
        _assign(tree, override, known, empty)
    return tree


def _assign(tree: dict[str, Any], override: Override, known: Groups, empty: Set[str]) -> None:
    key, value = override.key_or_group, override.value()
    *path, last = key.split(".")
    if last == "name" and len(path) > 1:  # another name is another spec
        *path, last, value = *path, {"name": value}
    adds = override.is_add() or override.is_force_add() or key.startswith(ENTRIES)
    section: Any = tree
    for depth, part in enumerate(path):
        found = section.get(part)
        if isinstance(found, str) and depth and part != "name":  # a bare name
            section[part] = {"name": found}
        elif found is None and (adds or ".".join(path[: depth + 1]) in empty):
            section[part] = {}
        section = section.get(part)
        if not isinstance(section, dict):
            raise _unknown_key(override, tree, known)
    # a spec inside another and an empty mapping may get keys that no YAML file names: the constructor checks them
    opens = adds or (len(path) > 1 and ("name" in section or ".".join(path) in empty))
    if last not in section and (override.is_delete() or not opens):
        raise _unknown_key(override, tree, known)
    if override.is_delete():
        del section[last]
        return
    old = section.get(last)
    if isinstance(value, list) and isinstance(old, dict):
        entry = f"{value[0]}={{}}" if value and f"{key}." in ENTRIES else "KEY=VALUE"
        raise ConfigError(f"'{key}' holds values by name, not a list", _shown(override), f"use {key}.{entry}")
    if override.is_add() and last in section and not isinstance(old, dict):
        raise ConfigError(f"'{key}' exists already", _shown(override), f"leave out the '+': {key}=...")
    section[last] = merged(old, value)


def merged(old: Any, new: Any) -> Any:
    """`new` laid over `old` key by key, except that a spec of another name replaces it whole."""
    if isinstance(old, str) and isinstance(new, dict) and "name" not in new:
        return {"name": old, **new}
    if isinstance(old, dict) and "name" in old and isinstance(new, str):
        new = {"name": new}
    if not isinstance(old, dict) or not isinstance(new, dict) or new.get("name", old.get("name")) != old.get("name"):
        return new
    return old | {key: merged(old.get(key), value) for key, value in new.items()}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every dotted key of a nested mapping with its value, mappings included."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found[f"{prefix}{name}"] = value
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{name}.")
    return found


def leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """As `flatten`, without mappings that hold other keys."""
    return {key: value for key, value in flatten(tree).items() if not isinstance(value, Mapping) or not value}


def _unknown_key(override: Override, tree: Mapping[str, Any], known: Groups) -> ConfigError:
    """ConfigError that suggests the nearest key of the same section, or a deeper one of the same name."""
    key, keys = override.key_or_group, [key for key in flatten(tree) if not key.startswith("hydra")]
    parent = key.rpartition(".")[0]
    if (group := key.removeprefix("model.")) in MODEL_CHOICES:
        return ConfigError(f"unknown key '{key}'", _shown(override), f"choose it with {group}=NAME")
    group, _, entry = parent.partition(".")
    if group in MANY and entry in known.get(group, ()):
        return ConfigError(f"unknown key '{key}'", _shown(override), f"choose it too: {group}=[...,{entry}]")
    siblings = {name for name in keys if name.rpartition(".")[0] == parent} or set(keys)
    deeper = [name for name in keys if name.endswith(f".{key}")]  # batch_size for trainer.batch_size
    last = key.rpartition(".")[2]
    # a file need not list every key of its component, whose schema checks an added one
    adding = f" '+{key[:60]}=...' gives '{parent}' a key that its file leaves out" if f"{parent}.name" in keys else ""
    if parent and not isinstance(tree.get(last, {}), Mapping):  # dataset.seed: for seed, or dataset.split_seed
        close = [last, *(name for name in sorted(siblings) if last in name.rpartition(".")[2].split("_"))]
        near = f"did you mean {' or '.join(map(repr, close))}?"
        return ConfigError(f"unknown key '{key[:80]}'", _shown(override), near + adding)
    near = f"did you mean '{deeper[0]}'?" if deeper else nearest(key, siblings.union(() if parent else known))
    return ConfigError(f"unknown key '{key[:80]}'", _shown(override), near + adding)


def _shown(override: Override) -> str:
    return f"override {str(override.input_line)[:60]!r}"


def _plain(argument: str) -> None:
    """ConfigError for faults that show without a parser."""
    shown = repr(argument[:60])
    safety.text(argument, f"override {shown}")
    if argument.startswith("-"):
        raise ConfigError(f"unknown option {shown}", "command line", "see genlab train --help")
    if "=" not in argument and not argument.startswith("~"):
        raise ConfigError(f"{shown} is not an override", "command line", "write key=value, e.g. model=vae seed=1")
    if not re.match(r"[~+]{0,2}[\w/]", argument):
        raise ConfigError(f"{shown} names no key", "command line", "write key=value, e.g. model=vae seed=1")
    depth = longest = 0
    for character in argument:
        depth += (character in "[{(") - (character in "]})")
        longest = max(longest, depth)
    if longest > safety.MAX_DEPTH:
        raise ConfigError(f"{shown} is too deeply nested", "command line", f"at most {safety.MAX_DEPTH} levels")


@functools.lru_cache(1024)  # a sweep parses the same words for every job
def _grammar(argument: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    quoted = UNQUOTED_TILDE.sub(r"\1'\2'", argument)
    try:
        return OverridesParser.create().parse_override(quoted)
    except Exception as error:  # ANTLR, casts and Hydra raise different types
        hint = "quote a value that holds spaces, commas, quotes, brackets or '~': 'key=\"a, b\"'"
        raise ConfigError(f"cannot read {argument[:60]!r} ({first_line(error)})", "command line", hint) from None


def first_line(error: BaseException) -> str:
    """The type and the first line of an error, or of its cause if the error has no text."""
    while not str(error).strip() and error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()[:160]}" if lines else type(error).__name__


def _allowed(override: Override, argument: str) -> None:
    key, package = override.key_or_group, override.package or ""
    where = f"override {argument[:60]!r}"
    if re.split(r"[./]", key.strip("/"))[0] == "hydra":
        _hydra(override, key, where)
    for word in re.split(r"[./:]", f"{key}.{package}"):
        safety.key(word, where)
    if package and re.split(r"[./]", package)[0] == "hydra":
        raise ConfigError(f"'{key}@{package}' is refused", where, safety.HYDRA_ADVICE)
    if override.is_delete() and not (key == "recipe" or key.startswith(DELETABLE)):
        raise ConfigError(
            f"'{key}' cannot be removed",
            where,
            "give another value; recipe and NAME in evaluator, logger, optimizer.phases, model.regularizers can go",
        )
    for value in _values(override):
        safety.tree(value, key)


def _hydra(override: Override, key: str, where: str) -> None:
    if key not in safety.HYDRA_KEYS or override.get_key_element()[0] in "+~":
        raise ConfigError(f"'{key}' is refused", where, safety.HYDRA_ADVICE)
    value = override.value()
    if "/" in key and value != "basic":
        raise ConfigError(f"'{key}={value}' is not supported", where, f"only {key}=basic: one process per job")
    if key.endswith(".dir"):
        check_path(value if isinstance(value, str) else str(value or ""))


def _values(override: Override) -> list[Any]:
    """The value, or the values of a sweep, with quoted strings as text."""
    value: Any = override.value()
    if not override.is_sweep_override():
        return [value]
    return [override._convert_value(item) for item in getattr(value, "list", [])]


def _option(override: Override, argument: str, known: Groups, plugins: Sequence[str]) -> None:
    """ConfigError if a group has no such option."""
    group = override.key_or_group
    if group not in known or override.is_delete():
        return
    where = f"override {argument[:60]!r}"
    if group == "sweep":
        raise ConfigError("a sweep is several runs", where, "add -m: genlab train -m sweep=NAME")
    for value in _values(override):
        names = value if isinstance(value, list) and group in MANY else [value]
        for name in names:
            if name is None and group in OPTIONAL:
                continue
            if isinstance(name, dict | list):
                raise ConfigError(
                    f"'{group}' takes the name of an option", where, f"write {group}=NAME {group}.KEY=VALUE"
                )
            if str(name) not in known[group]:
                shown = "null" if name is None else str(name)[:60]
                near = nearest(shown.lower().removesuffix(".yaml"), known[group])
                if plugins:  # the name may be one that they register
                    near = (
                        f"what a plug-in registers needs a file too: {group}/{shown}.yaml in a folder of --config-dir"
                    )
                raise ConfigError(f"unknown {group} '{shown}'", where, near)

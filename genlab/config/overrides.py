"""Command-line overrides: parsed by Hydra's own grammar, looked at before Hydra composes anything.

Group options are files; what exists is read from the folders, so a wrong name is answered with the nearest one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.config import safety
from genlab.errors import ConfigError, nearest
from genlab.utils.unique_folder import check_path

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MAX_OVERRIDES = 500
MANY = ("evaluator", "logger")  # groups of which several options can be chosen: evaluator=[objective,samples]
OPTIONAL = ("recipe", "experiment", "workload", "debug")  # groups that may be nothing: experiment=null
# mappings whose keys are the model's phases, and what steadies its game: entries come and go
ENTRIES = ("optimizer.phases.", "model.regularizers.")
# and specs, some of whose keys no YAML file names: what is added needs no '+', for their constructors check it
OPEN = (*ENTRIES, "dataset.of.", "dataset.real.", "model.generator.", "model.discriminator.")
DELETABLE = ("evaluator.", "logger.", *ENTRIES)

Groups = Mapping[str, Sequence[str]]


def groups(folders: Sequence[Path]) -> dict[str, list[str]]:
    """`{"model": ["autoencoder", "vae", ...], ...}`: the options of every group below these folders."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            if entry.is_dir() and not entry.name.startswith((".", "_")):
                options = (path.relative_to(entry).with_suffix("").as_posix() for path in entry.rglob("*.yaml"))
                found.setdefault(entry.name, set()).update(options)
    return {name: sorted(options) for name, options in sorted(found.items())}


def parse(overrides: Sequence[str], known: Groups, sweep: bool = False) -> list[Override]:
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
        _option(override, argument, known)
        parsed.append(override)
    return parsed


def arguments(parsed: Sequence[Override]) -> list[str]:
    """What Hydra is given: the text as it was typed, save three liberties.

    An entry of an open mapping needs no '++'; an optional group can be null; the last choice of a group counts.
    """
    last = {override.get_key_element(): override for override in parsed}
    texts = []
    for override in last.values():
        key, line = override.key_or_group, str(override.input_line)
        if key in OPTIONAL and not override.is_sweep_override() and override.value() is None:
            texts += ["~recipe"] if key == "recipe" else []
        elif f"{key}.".startswith(OPEN) and line[0] not in "+~":
            texts.append(f"++{line}")
        else:
            texts.append(line)
    return texts


def is_single_value(override: Override, among: Sequence[Override], known: Groups) -> bool:
    """Whether this sets one scalar that no other override touches: a leaf of the tree changes, not its shape."""
    key = override.key_or_group
    if key in known or override.package or override.get_key_element()[0] in "+~" or key.split(".")[0] == "hydra":
        return False
    value = None if override.is_sweep_override() else override.value()
    if override.is_sweep_override() or not isinstance(value, str | int | float | None) or set("$\\") & set(str(value)):
        return False
    return not any(each.key_or_group.startswith(f"{key}.") or key.startswith(f"{each.key_or_group}.")
                   for each in among if each.key_or_group not in known)  # fmt: skip


def _plain(argument: str) -> None:
    """What can be seen without a parser."""
    shown = repr(argument[:60])
    safety.text(argument, f"override {shown}")
    if argument.startswith("-"):
        raise ConfigError(f"unknown option {shown}", "command line", "see genlab train --help")
    if "=" not in argument and not argument.startswith("~"):
        raise ConfigError(f"{shown} is no override", "command line", "write key=value, e.g. model=vae seed=1")
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

    try:
        return OverridesParser.create().parse_override(argument)
    except Exception as error:  # ANTLR, casts and Hydra each raise their own kinds
        hint = "quote a value that holds spaces, commas, quotes or brackets: 'key=\"a, b\"'"
        raise ConfigError(f"cannot read {argument[:60]!r} ({_reason(error)})", "command line", hint) from None


def _reason(error: Exception) -> str:
    line = str(error).strip().splitlines()
    return line[0][:120] if line else type(error).__name__


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
    if key.startswith("plugins."):
        raise ConfigError(f"'{key}' is refused", where, "give the whole list: plugins=[package]")
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
    """The value, or those that a sweep lists, with Hydra's quoted strings turned into text."""
    value: Any = override.value()
    if not override.is_sweep_override():
        return [value]
    return [override._convert_value(item) for item in getattr(value, "list", [])]


def _option(override: Override, argument: str, known: Groups) -> None:
    """A group's option must exist; a lone word that is neither a group nor a key is answered by Hydra later."""
    group = override.key_or_group
    if group not in known or override.is_delete():
        return
    where = f"override {argument[:60]!r}"
    if group == "sweep":
        raise ConfigError("a study is several runs", where, "add -m: genlab train -m sweep=NAME")
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
                raise ConfigError(
                    f"unknown {group} '{shown}'", where, nearest(shown.lower().removesuffix(".yaml"), known[group])
                )

"""The arguments of commands: flags are parsed by argparse, `key=value` is checked against a schema."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn

from genlab.config import trusted
from genlab.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel


# Flags say how a command runs on this machine; key=value says what it computes.
FLAGS: dict[str, dict[str, Any]] = {
    "config-dir": {"action": "append", "default": [], "metavar": "DIR", "help": "a folder of your own configurations"},
    "plugin": {"action": "append", "default": [], "metavar": "MODULE", "help": "a module with your own components"},
    "json": {"action": "store_true", "help": "print JSON instead of a table"},
    "csv": {"action": "store_true", "help": "print CSV instead of a table"},
    "checkpoint": {"metavar": "WHICH", "default": "newest", "help": "newest, best (checkpoint.best) or a step"},
    "device": {"metavar": "DEVICE", "help": "auto, cpu, mps, cuda or cuda:N"},
}
INSTEAD = {"plugin": "plugin", "plugins": "plugin", "device": "device", "trainer.device": "device"}  # key -> flag


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, flags anywhere among the arguments, and examples below the help."""

    def __init__(self, name: str, about: str, examples: str = "", keys: str = "") -> None:
        parts = (f"{title}:\n{text}" for title, text in (("keys", keys), ("examples", examples)) if text)
        super().__init__(
            f"genlab {name}", description=about, epilog="\n".join(parts),
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        )  # fmt: skip
        self.name = name
        self._words: Sequence[str] = ()  # the arguments that are being parsed

    def flags(self, *names: str) -> None:
        """Add flags that several commands take: config-dir, plugin, device, json, csv."""
        for name in names:
            self.add_argument(f"--{name}", **FLAGS[name])

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments of the command. ConfigError for a key=value that is a flag."""
        for key in (argument.partition("=")[0].lstrip("+") for argument in arguments if "=" in argument):
            flag = f"--{INSTEAD.get(key)}"
            if flag in self._option_string_actions:
                hint = f"write {flag} {FLAGS[INSTEAD[key]]['metavar']}"
                raise ConfigError(f"'{key}' is a flag", f"genlab {self.name}", hint)
        self._words = arguments
        parsed = self.parse_intermixed_args(list(arguments))
        self._add_trusted(parsed)
        return parsed

    def _add_trusted(self, parsed: argparse.Namespace) -> None:
        """Before the flags' own plug-ins, those that the user trusts in the current folder; and its configurations."""
        names, config_dirs = trusted.of_current_folder()
        if hasattr(parsed, "plugin"):
            parsed.plugin = list(dict.fromkeys([*names, *parsed.plugin]))
        if hasattr(parsed, "config_dir"):
            parsed.config_dir = list(dict.fromkeys([*config_dirs, *parsed.config_dir]))

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            raise ConfigError(f"unknown argument '{unknown[1][:60]}'", f"genlab {self.name}", self._instead(unknown[1]))
        raise ConfigError(message[:200], f"genlab {self.name}", f"see genlab {self.name} --help")

    def _instead(self, word: str) -> str:
        """What to write instead of an unknown flag: a flag like it, or `key=value` where the command takes that."""
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        takes_keys = any(action.dest in ("overrides", "options") for action in self._actions)
        if not takes_keys or difflib.get_close_matches(word, flags, cutoff=0.8):
            return nearest(word, flags)
        short = re.fullmatch(r"-([A-Za-z])=?(.*)", word)
        key, _, value = (short[1], "", short[2]) if short else word.lstrip("-").partition("=")
        if len(key) < 2 and self.name in ("train", "resume", "bench", "prepare"):  # no key has one letter
            return "write key=value without dashes, e.g. trainer.steps=1000"
        following = list(self._words[list(self._words).index(word) + 1 :]) if word in self._words else []
        if not value and following and re.fullmatch(r"[^-=][^=]*|-[\d.]+", following[0]):
            value = following[0]
        return f"write {key.replace('-', '_')[:40]}={value[:40] or 'VALUE'}, without dashes"


def run_argument(parser: Parser, exported: bool = True) -> None:
    """The RUN that most commands take; `exported`: a file of `genlab export` will do."""
    parser.add_argument("run", metavar="RUN", help=f"a run folder, or 'last'{', or a model file' if exported else ''}")


def runs_and_options(words: Sequence[str], keys: Any, where: str) -> tuple[list[str], list[str]]:
    """The runs, sweeps and patterns among the words, and the `key=value` of the dataclass `keys`.

    A word is an option if its key is known, or if it looks like a misspelled one and not like a path. ConfigError if no
    run is named.
    """
    known = {field.name for field in fields(keys)}

    def is_option(word: str) -> bool:
        key, equals, _ = word.partition("=")
        return bool(equals) and (key in known or key.isidentifier())

    names = [word for word in words if not is_option(word)]
    if not names:
        raise ConfigError("no run is named", where, "name runs, sweeps or patterns; `genlab runs` lists them")
    return names, [word for word in words if is_option(word)]


def named_after(names: Sequence[str], words: Sequence[str]) -> str:
    """The name of a file about these runs, made by these words: the same command replaces its own file."""
    slug = re.sub(r"\W+", "-", "-".join(names), flags=re.ASCII).strip("-")[:60]
    return f"{slug}-{hashlib.sha256(shlex.join(words).encode()).hexdigest()[:6]}"


def keywords(
    target: Callable[..., Any] | type[BaseModel], arguments: Sequence[str], where: str = "this command"
) -> dict[str, Any]:
    """`["n=64", "mode=lerp"]` as keyword arguments of a class or function, or as fields of a schema.

    ConfigError for a key that `where` does not take, or a value that the schema does not allow.
    """
    from genlab.config import safety
    from genlab.registry import check_keywords, signature_schema

    schema: Any = target if hasattr(target, "model_fields") else signature_schema(target)
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        safety.text(argument, f"argument {argument[:60]!r}")
        if not key or not equals:
            raise ConfigError(f"{argument[:60]!r} is not an option", "command line", "write key=value, e.g. n=64")
        last = key.rpartition(".")[2]
        if last != key and last in schema.model_fields:  # with its path in the configuration
            raise ConfigError(f"unknown key '{key[:60]}'", "keys have no path here", f"write {last}={value[:40]}")
        if key not in schema.model_fields:
            hint = nearest(key, schema.model_fields)
            raise ConfigError(f"unknown key '{key[:60]}'", f"{where} has no such key", hint)
        values[key] = _scalar(value)
    return check_keywords(schema, values, "")


def _scalar(text: str) -> Any:
    """A number, true, false, null, a list [a,b] of these, or the text itself."""
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    named = {"true": True, "false": False, "null": None}
    if text.lower() in named:
        return named[text.lower()]
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d{1,3})?", text[:40]) else text

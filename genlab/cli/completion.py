"""genlab completion prints a script that teaches a shell to complete genlab's words; the script calls __complete.

`genlab __complete LINE` prints what may follow, one candidate a line. It reads YAML files and run folders; no torch.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genlab.cli import COMMANDS, load_command
from genlab.cli.options import Parser
from genlab.config.yaml_comments import KINDS, MODEL_CHOICES, from_model, options, values
from genlab.errors import GenlabError
from genlab.utils.terminal import echo

BASH = """\
_genlab() {
  local line=${COMP_LINE:0:COMP_POINT} word
  word=${line##* }
  local IFS=$'\\n'
  COMPREPLY=($(genlab __complete "$line" 2>/dev/null))
  # readline replaces only what follows the last '='
  [[ $word == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  return 0
}
complete -o default -F _genlab genlab
"""
ZSH = """\
#compdef genlab
_genlab() {
  local -a found
  found=("${(@f)$(genlab __complete "${BUFFER[1,CURSOR]}" 2>/dev/null)}")
  compadd -S '' -- ${(M)found:#*=}
  compadd -- ${found:#*=}
}
compdef _genlab genlab
"""
FISH = """\
complete -c genlab -f -a '(genlab __complete (commandline -cp) 2>/dev/null)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
EXAMPLES = """\
  eval "$(genlab completion bash)"          in ~/.bashrc
  eval "$(genlab completion zsh)"           in ~/.zshrc, after compinit
  genlab completion fish > ~/.config/fish/completions/genlab.fish
"""
COMPOSING = ("train", "prepare", "info")
HIDDEN_KEYS = ("name", "device", *MODEL_CHOICES)  # chosen by GROUP=OPTION and by --device
FLAG_VALUES = {"device": ["auto", "cpu", "cuda", "mps"]}


def parser() -> Parser:
    parse = Parser("completion", "Print a completion script.", EXAMPLES)
    parse.add_argument("shell", choices=sorted(SCRIPTS))
    return parse


def run(options: argparse.Namespace) -> int:
    echo(*SCRIPTS[options.shell].splitlines())
    return 0


def candidates(line: str) -> list[str]:
    """Completions of the last word of a command line that starts with `genlab`."""
    *words, last = line.split(" ")
    words = [word for word in words if word not in ("", "--debug")][1:]
    return sorted({found for found in _possible(words, last) if found.startswith(last)})


def _possible(words: list[str], last: str) -> list[str]:
    if not words:
        return [*COMMANDS, "--help", "--version"]
    name, *words = words
    if name not in COMMANDS:
        return []
    flags = [*_actions(name), "--debug"] if last.startswith("-") else []
    words, flag = _positional(name, words)
    if flag is not None:
        return [str(value) for value in flag.choices or FLAG_VALUES.get(flag.dest, [])]
    if name in COMPOSING:
        return flags + _overrides(words, last) + (_verify(last) if name == "prepare" else [])
    if name == "bench":
        return flags + (_bench_options(words, last) if words else list(options("workload", [_folder()])))
    if name in NAMES:
        return flags + NAMES[name]()
    if name in ("compare", "plot"):
        return flags + _runs() + _run_options(name, "", last)
    if name == "eval" and words and last.startswith("evaluator"):
        return [each for each in _overrides(["evaluator=objective", *words[1:]], last) if each.startswith("evaluator")]
    return flags + (_run_options(name, words[0], last) if words else _runs())


def _verify(last: str) -> list[str]:
    """The key of `genlab prepare` that is not an override."""
    return ["verify=true", "verify=false"] if last.startswith("verify=") else ["verify="]


def _claims() -> list[str]:
    """Sections of the results, and their runs."""
    from genlab.workflows.reproduce.claims import load

    parts = load()
    return [*parts, *(run for part in parts.values() for run in part.runs)]


# what commands take that name neither a run nor overrides
NAMES: dict[str, Callable[[], list[str]]] = {
    "list": lambda: list(KINDS),
    "completion": lambda: list(SCRIPTS),
    "reproduce": _claims,
    "runs": lambda: ["model=", "dataset=", "status=", "seed=", "sort="],
    "doctor": list,
    "new": lambda: ["model", "dataset", "evaluator"],
    "trust": lambda: [path.stem for path in Path().glob("*.py")],
}


def _actions(name: str) -> dict[str, argparse.Action]:
    """The flags of a command, from its own parser."""
    return dict(load_command(name).parser()._option_string_actions)


def _positional(name: str, words: list[str]) -> tuple[list[str], argparse.Action | None]:
    """The words that are neither flags nor their values; the flag whose value is to be completed."""
    if not any(word.startswith("-") for word in words):
        return words, None  # without the cost of the parser
    actions, plain, flag = _actions(name), list[str](), None
    for word in words:
        if flag is not None:
            flag = None
        elif word.startswith("-"):
            flag = actions.get(word)
            flag = flag if flag is not None and flag.nargs is None else None
        else:
            plain.append(word)
    return plain, flag


def _overrides(words: list[str], last: str) -> list[str]:
    """`group=`, `group=option`, and the dotted keys of the options chosen so far."""
    folder = _folder()
    groups = [path.name for path in folder.iterdir() if path.is_dir()]
    group, equals, value = last.partition("=")
    if equals:
        names = list(options(group, [folder])) if group in groups else _values(group)
        before = value[: max(value.rfind(","), value.rfind("[")) + 1]  # values of a sweep, or of a list
        return [f"{group}={before}{name}" for name in names if name not in before.strip("[").split(",")]
    root = values(folder / "train.yaml", [folder])
    chosen = _defaults(folder) | dict(word.split("=", 1) for word in words if "=" in word)
    for name in MODEL_CHOICES:
        if chosen[name].startswith("${"):
            default = chosen[name].rpartition(",")[2].rstrip("}")
            chosen[name] = from_model(name, default, chosen["model"], [folder])
    keys = [f"{key}=" for key in _flatten(root, "") if not key.startswith("hydra")] + ["hydra.run.dir="]
    for name in groups:
        if name in ("evaluator", "logger"):
            files = [options(name, [folder]).get(each) for each in chosen.get(name, "").strip("[]").split(",")]
            keys += [f"{name}.{key}=" for file in files if file for key in _flatten(values(file, [folder]), "")]
            continue
        file = options(name, [folder]).get(chosen.get(name, ""))
        if file and name not in ("recipe", "experiment", "workload", "debug"):
            found = _flatten(values(file, [folder]), "")
            keys += [f"{name}.{key}=" for key in found if key not in HIDDEN_KEYS]
    return [f"{name}=" for name in groups] + keys


def _folder() -> Path:
    """The folder of genlab's own configurations."""
    from genlab.config.compose import search_path

    return search_path()


def _defaults(folder: Path) -> dict[str, str]:
    """The option that the root configuration takes of each group."""
    import yaml

    entries: list[Any] = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))["defaults"]
    chosen: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, dict):
            chosen |= {str(key): str(value) for key, value in entry.items()}
    return chosen


def _flatten(tree: dict[str, Any], prefix: str) -> list[str]:
    found: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}")
    return found


def _bench_options(words: list[str], last: str) -> list[str]:
    """The bench's own short keys, and the overrides of `train`."""
    from genlab.cli.machine.bench import OWN, SHORT

    key, equals, _ = last.partition("=")
    if equals and key in SHORT:
        return [f"{key}={value}" for value in _values(SHORT[key])]
    return [f"{key}=" for key in (*OWN, *SHORT)] + _overrides(words[1:], last)


def _runs() -> list[str]:
    from genlab.runs import run_folder

    return ["last", *(str(record["path"]) for record in run_folder.scan(Path("outputs")))]


def _run_options(name: str, run: str, last: str) -> list[str]:
    """`key=` of a command that takes a RUN, from the command's schema; after `key=`, the allowed values."""
    key, equals, _ = last.partition("=")
    choices = _choices(name, run)
    return [f"{key}={value}" for value in choices.get(key, [])] if equals else [f"{key}=" for key in choices]


def _choices(name: str, run: str) -> dict[str, list[str]]:
    """The keys of a command and what each may be, with the options of the run's own model as its record has them."""
    if name == "resume":
        return {f"trainer.{key}": _values(f"trainer.{key}") for key in ("steps", "epochs")}
    command = load_command(name)
    found = _fields(getattr(command, "keys", None) or command.Keys) | ({"evaluator": []} if name == "eval" else {})
    if method := getattr(command, "options_of", ""):
        from genlab.runs import run_folder

        with contextlib.suppress(GenlabError):
            found |= (run_folder.read_record(run_folder.find(run))["model"] or {}).get("options", {}).get(method, {})
    return found


def _fields(target: Any) -> dict[str, list[str]]:
    """The keyword parameters of a class and the few values that each may have."""
    from genlab.config.parameters import parameters
    from genlab.registry import signature_schema

    return {each.name: each.choices for each in parameters(signature_schema(target))}


def _values(key: str) -> list[str]:
    """The values that a key of `genlab train` may have, if they are few."""
    from genlab.config.trainer_config import TrainerConfig

    section, _, name = key.partition(".")
    if key == "dry_run":
        return ["true", "false"]
    return _fields(TrainerConfig).get(name) or FLAG_VALUES.get(name, []) if section == "trainer" else []

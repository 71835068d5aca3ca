"""genlab list: all options, read from the configuration files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from genlab.cli.options import Parser
from genlab.config.yaml_comments import KINDS, first_comment, options
from genlab.errors import ConfigError, nearest
from genlab.utils.tables import show, show_records
from genlab.utils.terminal import echo

# components that a model or an evaluator names, found by loading them: listed only when asked for
COMPONENTS = {"networks": "NETWORKS", "augmentations": "AUGMENTATIONS", "corruptions": "CORRUPTIONS",
              "extractors": "EXTRACTORS"}  # fmt: skip
OTHERS = "other"  # the family of a model without one
Table = tuple[str, str, dict[str, str]]
EXAMPLES = """\
  genlab list                 everything
  genlab list models          by family
  genlab list gan             whatever has "gan" in its name or description
  genlab list experiments --json
  genlab list networks        what model.network, model.generator, ... may name
"""


def parser() -> Parser:
    parse = Parser("list", f"List what can be chosen: {', '.join([*KINDS, *COMPONENTS])}.", EXAMPLES)
    parse.add_argument("kinds", nargs="*", metavar="KIND | WORD")
    parse.flags("config-dir", "json")
    return parse


def run(options_: argparse.Namespace) -> int:
    from genlab.config import compose

    folders = [compose.search_path(), *compose.private_folders(options_.config_dir)]
    tables = [_table(kind, folders) for word in options_.kinds for kind in [_kind(word)] if kind]
    words = [word for word in options_.kinds if not _kind(word)]
    if words or not tables:
        tables += [_fitting(_table(kind, folders), words) for kind in KINDS]
    if not any(rows for _, _, rows in tables):
        shown = " ".join(words)[:60]
        raise ConfigError(f"nothing is called '{shown}'", "genlab list", nearest(shown, [*KINDS, *COMPONENTS]))
    if options_.json:
        show_records(list(_records(tables)), json=True)
        return 0
    for title, note, rows in tables:
        for family, part in _by_family(title, rows).items():
            show([f"{title}: {family}" if family else title, note], [list(row) for row in part.items()])
            echo("")
    return 0


def _kind(word: str) -> str:
    """The kind that a word names, also in the singular: `model`, `network`; "" if it names none."""
    for kind in (word, f"{word}s"):
        if kind in (*KINDS, *COMPONENTS):
            return kind
    return ""


def _fitting(table: Table, words: Sequence[str]) -> Table:
    """The rows with all these words in their name or description, upper or lower case."""
    title, note, rows = table
    texts = {name: f"{name} {about}".casefold() for name, about in rows.items()}
    return title, note, {name: rows[name] for name, text in texts.items() if all(w.casefold() in text for w in words)}


def _records(tables: Sequence[Table]) -> Iterator[dict[str, str]]:
    for title, _, rows in tables:
        for family, part in _by_family(title, rows).items():
            named = {"family": family} if family else {}
            yield from ({"kind": title, "name": name, "about": about, **named} for name, about in part.items())


def _by_family(title: str, rows: dict[str, str]) -> dict[str, dict[str, str]]:
    """Models by family, as the folders of genlab/models; anything else in one part."""
    if title != "models":
        return {"": rows} if rows else {}
    families, found = _families(), dict[str, dict[str, str]]()
    for name, about in rows.items():
        found.setdefault(families.get(name, OTHERS), {})[name] = about
    return dict(sorted(found.items(), key=lambda part: (part[0] == OTHERS, part[0])))


def _families() -> dict[str, str]:
    """The family of each model's file: the folder of the module that registers its name. Imports no model."""
    from genlab.config import compose
    from genlab.config.yaml_comments import values

    spec = find_spec("genlab.models")  # the package itself is empty
    folder = Path(str(spec and spec.origin)).parent
    registered = {name: path.parent.name for path in folder.glob("*/*.py")
                  for name in re.findall(r'^@MODELS\("(\w+)"\)', path.read_text("utf-8"), re.MULTILINE)}  # fmt: skip
    files = options("model", [compose.search_path()])
    names = {name: values(path, [compose.search_path()]).get("name") for name, path in files.items()}
    return {option: registered[name] for option, name in names.items() if name in registered}


def _table(kind: str, folders: list[Path]) -> Table:
    """Title, a note, and names with what they are."""
    if kind in COMPONENTS:
        return kind, "a bare name, or a mapping with its keys", of_components(kind)
    group = KINDS[kind]
    return (
        kind,
        f"choose with {group}=NAME",
        {name: first_comment(path) for name, path in options(group, folders).items()},
    )


def of_components(kind: str) -> dict[str, str]:
    """The registered components of a kind, each with the first line of its documentation."""
    import inspect

    from genlab import registry

    registry.discover()
    table: registry.Registry = getattr(registry, COMPONENTS[kind])
    return {name: (inspect.getdoc(table.get(name)) or "").split("\n")[0] for name in table.names()}

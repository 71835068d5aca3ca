"""genlab list: all options, read from the configuration files."""

from __future__ import annotations

import argparse
from pathlib import Path

from genlab.cli.options import Parser
from genlab.config.yaml_comments import KINDS, first_comment, options
from genlab.errors import ConfigError, nearest
from genlab.utils.tables import show, show_records
from genlab.utils.terminal import echo

# components that a model or an evaluator names, found by loading them: listed only when asked for
COMPONENTS = {"networks": "NETWORKS", "augmentations": "AUGMENTATIONS", "corruptions": "CORRUPTIONS",
              "extractors": "EXTRACTORS"}  # fmt: skip
EXAMPLES = """\
  genlab list                 everything
  genlab list models
  genlab list experiments --json
  genlab list networks        what model.network, model.generator, ... may name
"""


def parser() -> Parser:
    parse = Parser("list", f"List what can be chosen: {', '.join([*KINDS, *COMPONENTS])}.", EXAMPLES)
    parse.add_argument("kinds", nargs="*", metavar="KIND")
    parse.flags("config-dir", "json")
    return parse


def run(options_: argparse.Namespace) -> int:
    from genlab.config import compose

    folders = [compose.search_path(), *compose.private_folders(options_.config_dir)]
    found: dict[str, dict[str, str]] = {}
    for kind in options_.kinds or list(KINDS):
        title, note, rows = _table(kind, folders)
        found[title] = rows
        if not options_.json:
            show([title, note], [list(row) for row in rows.items()])
            echo("")
    if options_.json:
        records = [{"kind": kind, "name": name, "about": about} for kind, rows in found.items()
                   for name, about in rows.items()]  # fmt: skip
        show_records(records, json=True)
    return 0


def _table(kind: str, folders: list[Path]) -> tuple[str, str, dict[str, str]]:
    """Title, a note, and names with what they are. The singular works too: `genlab list model`."""
    if (components := f"{kind.removesuffix('s')}s") in COMPONENTS:
        return components, "a bare name, or a mapping with its keys", of_components(components)
    group = KINDS.get(kind, kind)
    if group not in KINDS.values():
        raise ConfigError(f"nothing is called '{kind[:60]}'", "genlab list", nearest(kind, [*KINDS, *COMPONENTS]))
    plural = next(name for name, known in KINDS.items() if known == group)
    return (
        plural,
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

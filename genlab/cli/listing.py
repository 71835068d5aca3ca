"""genlab list: all options, read from the configuration files."""

from __future__ import annotations

import argparse
from pathlib import Path

from genlab.cli.options import Parser
from genlab.config.yaml_comments import KINDS, first_comment, options
from genlab.errors import ConfigError, nearest
from genlab.utils.tables import show
from genlab.utils.terminal import echo

# components that a model or an evaluator names, found by loading them: listed only when asked for
COMPONENTS = {"networks": "NETWORKS", "augmentations": "AUGMENTATIONS", "corruptions": "CORRUPTIONS",
              "extractors": "EXTRACTORS"}  # fmt: skip
EXAMPLES = """\
  genlab list                 everything
  genlab list models
  genlab list experiments
  genlab list networks        what model.network, model.generator, ... may name
"""


def parser() -> Parser:
    parse = Parser("list", f"List what can be chosen: {', '.join([*KINDS, *COMPONENTS])}.", EXAMPLES)
    parse.add_argument("kinds", nargs="*", metavar="KIND")
    parse.flags("config-dir")
    return parse


def run(options_: argparse.Namespace) -> int:
    from genlab.config import compose

    folders = [compose.search_path(), *compose.private_folders(options_.config_dir)]
    for kind in options_.kinds or list(KINDS):
        if (components := f"{kind.removesuffix('s')}s") in COMPONENTS:
            print_components(components)
        else:
            print_kind(kind, folders)
    return 0


def print_kind(kind: str, folders: list[Path]) -> None:
    """Print one table. The singular works too: `genlab list model`."""
    group = KINDS.get(kind, kind)
    if group not in KINDS.values():
        raise ConfigError(f"nothing is called '{kind[:60]}'", "genlab list", nearest(kind, [*KINDS, *COMPONENTS]))
    rows = [[name, first_comment(path)] for name, path in options(group, folders).items()]
    plural = next(name for name, known in KINDS.items() if known == group)
    show([plural, f"choose with {group}=NAME"], rows)
    echo("")


def print_components(kind: str) -> None:
    """Print the registered components of a kind, each with the first sentence of its documentation."""
    import inspect

    from genlab import registry

    registry.discover()
    table: registry.Registry = getattr(registry, COMPONENTS[kind])
    rows = [[name, (inspect.getdoc(table.get(name)) or "").split("\n")[0]] for name in table.names()]
    show([kind, "a bare name, or a mapping with its keys"], rows)
    echo("")

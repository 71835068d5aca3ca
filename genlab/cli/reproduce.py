"""genlab reproduce: train and measure what the results claim, and compare."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from genlab.cli.images.image_command import Target, write
from genlab.cli.options import Parser
from genlab.errors import ConfigError, GenlabError, SweepError
from genlab.utils.paths import user_path
from genlab.utils.tables import show, show_records

if TYPE_CHECKING:
    from genlab.workflows.reproduce.claims import Claims
    from genlab.workflows.reproduce.ledger import Ledger

EXAMPLES = """\
  genlab reproduce                      what is claimed, and its cost
  genlab reproduce linear rbm           two sections of the page "Results" of the documentation
  genlab reproduce pca_mnist            one run
  genlab reproduce --all-cheap          all that takes two hours of one core together
"""


def parser() -> Parser:
    parse = Parser("reproduce", "Train and measure what the results claim; compare with what is stored.", EXAMPLES)
    parse.add_argument("claims", nargs="*", metavar="CLAIM", help="sections or runs; none: list them")
    parse.add_argument("--all-cheap", action="store_true", help="the cheapest runs: two hours of one core in all")
    parse.add_argument("--runs", default="outputs/results", metavar="DIR", help="run folders; finished ones are kept")
    parse.add_argument("--jobs", type=int, default=1, metavar="N", help="how many seeds at a time")
    parse.add_argument("--record", action="store_true", help="store the figures in the ledger")
    parse.add_argument("--forget", nargs="+", default=[], metavar="RUN", help="remove runs from the ledger")
    parse.add_argument("--claims", dest="folder", metavar="DIR", help="claims of your own: YAML files as genlab's")
    parse.add_argument("--ledger", metavar="FILE", help="a ledger of your own")
    parse.flags("json")
    parse.add_argument("--page", metavar="FILE", help="write the results page from the ledger")
    return parse


def run(options: argparse.Namespace) -> int:
    from genlab.workflows.reproduce import claims as registered
    from genlab.workflows.reproduce.ledger import FILE, Ledger
    from genlab.workflows.reproduce.tables import page

    if options.claims and options.all_cheap:
        raise ConfigError("claims are named beside --all-cheap", "genlab reproduce", "give one or the other")
    if options.jobs < 1:
        raise ConfigError(f"--jobs {options.jobs} runs nothing", "genlab reproduce", "give a number from 1 on")
    if options.page:
        _target(options.page)
    everything = registered.load(user_path(options.folder or registered.FOLDER, "--claims"))
    file = user_path(options.ledger or FILE, "--ledger")
    stored = Ledger.read(file)
    parts = registered.cheap(everything) if options.all_cheap else registered.chosen(everything, options.claims)
    if not (parts or options.forget or options.page):
        _list(everything, options.json)
    for name in options.forget:
        stored.forget(name)
    failed, missed, errors = _reproduce(parts, options, stored) if parts else ([], 0, [])
    if options.forget or options.record:
        write(Target(file.parent, file.name), stored.dumped())
    if options.page:
        write(_target(options.page), page(everything, stored).encode())
    if errors:
        raise errors[0]
    if failed or missed:
        raise SweepError(
            f"{len(failed)} commands failed, {missed} figures are off", "; ".join(failed[:1]), "the table has the rest"
        )
    return 0


def _list(claims: Mapping[str, Claims], json: bool) -> None:
    from genlab.workflows.reproduce.claims import cheap

    inexpensive = cheap(claims)
    rows = [
        {"claim": name, "what": part.title, "figures": len(part.rows),
         "minutes of one core": round(sum(run.minutes for run in part.runs.values())),
         "figures of --all-cheap": len(inexpensive[name].rows) if name in inexpensive else 0}
        for name, part in claims.items()
    ]  # fmt: skip
    show_records(rows, json)


def _reproduce(
    parts: Mapping[str, Claims], options: argparse.Namespace, stored: Ledger
) -> tuple[list[str], int, list[GenlabError]]:
    """Carry out and compare: the failed commands, the number of figures that are too far from the stored ones, and why
    figures or curves cannot be used."""
    from genlab.workflows.reproduce.runs import carry_out, record_figures
    from genlab.workflows.reproduce.tables import comparison, in_folder, in_ledger

    folder = user_path(options.runs, "--runs")
    failed = [command for part in parts.values() for command in carry_out(part, folder, options.jobs)]
    table = comparison(parts.values(), in_folder(folder), in_ledger(stored))
    show(["figure", "here", "stored", "published", ""], table.rows)
    recorded = parts.values() if options.record else ()
    errors = [error for part in recorded for error in record_figures(part, folder, stored)]
    return failed, table.missed, [*table.errors, *errors]


def _target(page: str) -> Target:
    """Where the page goes; ConfigError for a folder."""
    path = user_path(page, "flag --page")
    if not path.name or path.is_dir():
        raise ConfigError(f"'{page}' is a folder", "flag --page", "name a file")
    return Target(path.parent, path.name)

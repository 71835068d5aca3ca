"""genlab compare: runs beside each other, and which of their metrics differ by more than chance."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Lt
from pydantic import Field

from genlab.cli.images.image_command import Target, user_target, write
from genlab.cli.options import Parser, keywords, named_after, runs_and_options
from genlab.utils.tables import csv_text, show
from genlab.utils.terminal import echo

if TYPE_CHECKING:
    from genlab.workflows.compare.comparison import Comparison

EXAMPLES = """\
  genlab compare outputs/sweeps/losses                          the configurations of a sweep
  genlab compare vae-mnist/a 'vae-mnist/2026-*' metric=elbo     runs and patterns; one metric
  genlab compare outputs/sweeps/losses metric=[fid*,recall*] csv=metrics.csv
"""
KEYS = """\
  metric=  names of metrics, patterns allowed; fewer metrics need a smaller correction (all)
  alpha=   probability of calling a metric different by chance, over all metrics (0.05)
  html=    the page (outputs/comparisons/NAME.html)
  csv=     a line for each run and metric
  json=    everything
"""
MOST_KEYS = 20  # of the configuration that the terminal shows
FOLDER = "outputs/comparisons"


@dataclass(frozen=True)
class Keys:
    metric: list[str] | str | None = None
    alpha: Annotated[float, Gt(0), Lt(1), Field(description="probability of a false alarm")] = 0.05
    html: str | None = None
    csv: str | None = None
    json: str | None = None


def parser() -> Parser:
    parse = Parser("compare", "Compare runs, sweeps or patterns of them.", EXAMPLES, KEYS)
    parse.add_argument("options", nargs="+", metavar="RUN | KEY=VALUE")
    return parse


def run(arguments: argparse.Namespace) -> int:
    names, options = runs_and_options(arguments.options, Keys, "genlab compare")
    keys = Keys(**keywords(Keys, options, "genlab compare"))
    default = f"{FOLDER}/{named_after(names, arguments.options)}.html"
    page_file = user_target(keys.html or default, "html", (".html",))
    csv_file = user_target(keys.csv, "csv", (".csv",)) if keys.csv else None
    json_file = user_target(keys.json, "json", (".json",)) if keys.json else None
    from genlab.workflows.compare.comparison import compare

    patterns = [keys.metric] if isinstance(keys.metric, str) else keys.metric or []
    found = compare(names, patterns, keys.alpha)
    _show(found)
    _write(found, page_file, csv_file, json_file, shlex.join(["genlab", "compare", *arguments.options]))
    return 0


def _show(found: Comparison) -> None:
    from genlab.workflows.compare.tables import notes, tables

    for table in tables(found, MOST_KEYS):
        show(table.header, table.rows, table.title)
        echo("")
    echo(*notes(found), "")


def _write(found: Comparison, html: Target, csv: Target | None, json: Target | None, command: str) -> None:
    from genlab.utils.files import dump_json
    from genlab.workflows.compare.page import page

    data = page(found, command)  # reads more of the runs: says what is wrong before anything is written
    if csv:
        write(csv, csv_text(found.records()).encode())
    if json:
        write(json, dump_json(found.as_dict()))
    write(html, data)

"""genlab plot: curves of runs as a figure for a paper."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from genlab.cli.images.image_command import keys_text, user_target, write
from genlab.cli.options import Parser, keywords, named_after, runs_and_options
from genlab.utils.terminal import say

EXAMPLES = """\
  genlab plot last                                              what the run monitors
  genlab plot outputs/sweeps/losses metric=fid x=images out=fid.pdf
  genlab plot 'vae-mnist/*' metric=valid/elbo,train/loss x=epoch logy=true smooth=0.6 out=curves.svg
"""
SUFFIXES = (".png", ".svg", ".pdf")
FOLDER = "outputs/figures"
MOST = 10  # configurations: so many colors can be told apart
METRIC = "names, with or without the split, patterns allowed: a panel each; null: what the runs monitor"
SMOOTH = "weight of the past in an exponential moving average of each run; 0: the values as logged"
Inches = Annotated[float, Gt(0.5), Le(40)]


@dataclass(frozen=True)
class Keys:
    metric: Annotated[list[str] | str | None, Field(description=METRIC)] = None
    x: Annotated[Literal["step", "images", "epoch", "seconds"], Field(description="horizontal axis")] = "step"
    band: Annotated[Literal["minmax", "sd", "none"], Field(description="around the mean over seeds")] = "minmax"
    smooth: Annotated[float, Ge(0), Lt(1), Field(description=SMOOTH)] = 0.0
    logy: Annotated[bool, Field(description="a logarithmic vertical axis")] = False
    width: Annotated[Inches | None, Field(description="inches; null: 5, more for several panels")] = None
    height: Annotated[Inches | None, Field(description="inches; null: 3.2 a row of panels")] = None
    out: Annotated[str | None, Field(description=f"PNG, SVG or PDF file; null: {FOLDER}/...")] = None


def parser() -> Parser:
    about = "Curves of runs, sweeps or patterns of them as a figure; runs that differ only in the seed as one curve."
    parse = Parser("plot", about, EXAMPLES, keys_text(Keys))
    parse.add_argument("options", nargs="+", metavar="RUN | KEY=VALUE")
    return parse


def run(arguments: argparse.Namespace) -> int:
    draw(arguments)
    return 0


def draw(arguments: argparse.Namespace) -> Path:
    """Write the figure, and return its path."""
    names, options = runs_and_options(arguments.options, Keys, "genlab plot")
    keys = Keys(**keywords(Keys, options, "genlab plot"))
    default = f"{FOLDER}/{named_after(names, arguments.options)}.png"
    target = user_target(keys.out or default, "out", SUFFIXES)
    from genlab.reports.figure import columns_of, figure, require_matplotlib
    from genlab.runs.selection import select
    from genlab.workflows.compare.groups import grouped
    from genlab.workflows.compare.learning_curves import drawing, monitored

    require_matplotlib()
    groups, left_out = grouped(select(names, "genlab plot"), MOST, unfinished=True)
    words = keys.metric.split(",") if isinstance(keys.metric, str) else keys.metric or [monitored(groups)]
    found = drawing(groups, [word.strip() for word in words if word.strip()], keys.x, keys.smooth, keys.band)
    columns = columns_of(len(found.panels))
    size = (keys.width or (5.0, 7.5, 10.0)[columns - 1], keys.height or 3.2 * -(-len(found.panels) // columns))
    for reason in left_out:
        say(f"left out: {reason}")
    kind = target.path.suffix[1:].lower()
    write(target, figure(found.panels, found.across, found.legend, keys.logy, size, kind))
    return target.path

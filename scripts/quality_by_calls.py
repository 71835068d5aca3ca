"""Quality against network calls of several runs, in one figure and one table.

    genlab eval RUN evaluator=nfe repeats=3                    # for each run
    python scripts/quality_by_calls.py RUN1 RUN2 --out calls.png

Reads the results of evaluator `nfe` in RUN/eval, of each run those of the newest step. A curve is named after what sets
its runs apart, as `genlab compare` names them, and after the options of the sampler. Runs that differ in nothing but
the seed are averaged: the error bars are then the standard deviation over them, otherwise that over the sampling seeds
of one run. Results under another protocol (other images, split or weights) are curves of their own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.errors import GenlabError
from genlab.evaluation.evaluators.paths.nfe import OF_POINTS, SECONDS, curves, quality_chart
from genlab.reports.curve_plot import Points
from genlab.runs import evaluations
from genlab.runs.selection import select
from genlab.workflows.compare.groups import Group, Run, grouped

Curves = dict[str, dict[str, Points]]  # by quality, then by the name of the curve


# entries of a protocol in which results of one curve may differ, or that are in its name
FREE = {"seed", "repeats", "step", "checkpoint_sha256", "device", "genlab", "options", "calls", "samplers", "steps"}


@dataclass(frozen=True)
class Curve:
    """One sampler of one run. `name` is without the `protocol`, which only stands beside it where several differ."""

    quality: str
    name: str
    protocol: Mapping[str, Any]
    points: Points
    floor: float | None  # the quality of real training images


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="run folders, or their names below outputs/")
    parser.add_argument("--out", type=Path, default=Path("calls.png"), help="PNG file")
    options = parser.parse_args()
    try:
        groups, left_out = grouped(select(options.runs, "quality_by_calls.py"), most=None)
    except GenlabError as error:
        parser.error(str(error))
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    merged, floors = collect(groups)
    qualities = [quality for quality in merged if quality != SECONDS]
    if not qualities:
        parser.error("no results: genlab eval RUN evaluator=nfe")
    for quality in qualities:
        path = options.out if len(qualities) == 1 else options.out.with_stem(f"{options.out.stem}-{quality}")
        path.write_bytes(quality_chart(quality, merged[quality], floors.get(quality)).png)
        print("\n".join(table(quality, merged)))
        print(f"\n{path}")
    return 0


def collect(groups: Sequence[Group]) -> tuple[Curves, dict[str, float]]:
    """The curves of all runs, and for each quality that of real training images, if all curves are of the same ones."""
    found = [curve for group in groups for run in group.runs for curve in curves_of(run, group.label)]
    protocols: dict[str, list[Mapping[str, Any]]] = {}
    for curve in found:
        seen = protocols.setdefault(curve.name, [])
        seen += [curve.protocol] if curve.protocol not in seen else []
    several: dict[str, dict[str, list[Points]]] = {}
    for curve in found:
        name = f"{curve.name} {apart(curve.protocol, protocols[curve.name])}".strip()
        several.setdefault(curve.quality, {}).setdefault(name, []).append(curve.points)
    merged = {quality: {name: averaged(each) for name, each in lines.items()} for quality, lines in several.items()}
    one_set = len({curve.protocol.get("data_fingerprint") for curve in found}) == 1
    return merged, {curve.quality: curve.floor for curve in found if one_set and curve.floor is not None}


def curves_of(run: Run, label: str) -> Iterator[Curve]:
    """The curves of `nfe` at the newest step that has a result; of several results under one protocol, the one with
    most sampling seeds."""
    results = [each for each in evaluations.read_all(run.path) if each["protocol"]["evaluator"] == "nfe"]
    newest = max((each["protocol"]["step"] for each in results), default=0)
    chosen: dict[str, Curve] = {}
    for result in sorted(results, key=lambda each: int(each["protocol"].get("repeats", 1))):
        metrics, whole = result["metrics"], result["protocol"]
        protocol = {key: value for key, value in whole.items() if key not in FREE}
        for quality, lines in curves(metrics).items() if whole["step"] == newest else ():
            for title, points in lines.items():
                options = [part.replace("_", "=", 1) for part in title.split("-")]
                name = f"{label} {', '.join(options)}".strip()
                curve = Curve(quality, name, protocol, points, metrics.get(f"{quality}_floor"))
                chosen[json.dumps([quality, name, protocol], sort_keys=True)] = curve
    yield from chosen.values()


def apart(protocol: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """The entries in which protocols of one name differ: (images=500)."""
    keys = dict.fromkeys(key for other in (protocol, *others) for key in other)
    differing = [key for key in keys if any(other.get(key) != protocol.get(key) for other in others)]
    return f"({', '.join(f'{key}={protocol.get(key)}' for key in differing)})" if differing else ""


def averaged(curves: Sequence[Points]) -> Points:
    """The mean of curves at each number of calls, with the standard deviation over them; a single curve as it is."""
    if len(curves) == 1:
        return curves[0]
    values: dict[float, list[float]] = {}
    for x, y, _ in (point for curve in curves for point in curve):
        values.setdefault(x, []).append(y)
    return [(x, statistics.fmean(ys), statistics.stdev(ys) if len(ys) > 1 else 0.0) for x, ys in sorted(values.items())]


def table(quality: str, merged: Curves) -> Iterator[str]:
    """The figure's numbers in Markdown."""
    yield f"| curve | calls | {quality} | seconds per image |"
    yield "| --- | --- | --- | --- |"
    digits = 3 if quality == OF_POINTS else 2
    for name, points in merged[quality].items():
        seconds = {x: y for x, y, _ in merged.get(SECONDS, {}).get(name, ())}
        for x, y, sd in points:
            bar = f" ± {sd:.{digits}f}" if sd else ""
            yield f"| {name} | {x:g} | {y:.{digits}f}{bar} | {seconds.get(x, float('nan')):.3g} |"


if __name__ == "__main__":
    sys.exit(main())

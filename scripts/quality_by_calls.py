"""Quality against network calls of several runs, in one figure and one table.

    genlab eval RUN evaluator=nfe repeats=3                    # for each run
    python scripts/quality_by_calls.py RUN1 RUN2 --out calls.png

Reads the results of evaluator `nfe` in RUN/eval, of each run those of the newest step. A curve is named after the model
and the options of the sampler. Runs with the same curve (three seeds of one model) are averaged: the error bars are
then the standard deviation over the runs, otherwise that over the sampling seeds of one run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from genlab.evaluation.evaluators.paths.nfe import OF_POINTS, SECONDS, curves, quality_chart
from genlab.reports.curve_plot import Points
from genlab.runs import evaluations, run_folder

Curves = dict[str, dict[str, Points]]  # by quality, then by the name of the curve


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="run folders, or their names below outputs/")
    parser.add_argument("--out", type=Path, default=Path("calls.png"), help="PNG file")
    options = parser.parse_args()
    merged, floors = collect([run_folder.find(run) for run in options.runs])
    qualities = [quality for quality in merged if quality != SECONDS]
    if not qualities:
        parser.error("no results: genlab eval RUN evaluator=nfe")
    for quality in qualities:
        path = options.out if len(qualities) == 1 else options.out.with_stem(f"{options.out.stem}-{quality}")
        path.write_bytes(quality_chart(quality, merged[quality], floors.get(quality)).png)
        print("\n".join(table(quality, merged)))
        print(f"\n{path}")
    return 0


def collect(runs: Sequence[Path]) -> tuple[Curves, dict[str, float]]:
    """The curves of all runs, and for each quality that of real training images."""
    found: dict[str, dict[str, list[Points]]] = {}
    floors: dict[str, float] = {}
    for model, metrics in (each for run in runs for each in results_of(run)):
        for quality, lines in curves(metrics).items():
            floor = metrics.get(f"{quality}_floor")
            if floor is not None:
                floors[quality] = floor
            for title, points in lines.items():
                options = [part.replace("_", "=", 1) for part in title.split("-")]
                name = f"{model} {', '.join(options)}".strip()
                found.setdefault(quality, {}).setdefault(name, []).append(points)
    merged = {quality: {name: averaged(each) for name, each in lines.items()} for quality, lines in found.items()}
    return merged, floors


def results_of(run: Path) -> Iterator[tuple[str, Mapping[str, float | None]]]:
    """The model's name and the metrics of each result of `nfe` at the newest step that has one."""
    results = [each for each in evaluations.read_all(run) if each["protocol"]["evaluator"] == "nfe"]
    newest = max((each["protocol"]["step"] for each in results), default=0)
    model = run_folder.read_record(run)["model"]["name"]
    yield from ((model, each["metrics"]) for each in results if each["protocol"]["step"] == newest)


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

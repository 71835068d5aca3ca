"""The results of `genlab eval` as a table: each number with its error bar and with everything that it depends on."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genlab.reports import html_page
from genlab.runs.evaluations import SEED_SD
from genlab.utils.formatting import number

HEADER = ("evaluator and options", "result", "split", "n", "step", "seed")
# endings of metrics that are the error bar of another
DEVIATIONS = {SEED_SD: "sd over sampling seeds", "_se": "standard error", "_sd": "sd"}
BOUNDS = ("_low", "_high")
Metrics = Mapping[str, float | None]


def evaluation_table(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """HTML with a row for each protocol and step; several seeds give the mean and standard deviation.

    `evaluations` as in run.json; empty if none has a number.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for each in evaluations:
        if each["metrics"]:
            same = {key: value for key, value in each["protocol"].items() if key != "seed"}
            groups.setdefault(json.dumps(same, sort_keys=True), []).append(each)
    return html_page.table(map(_row, groups.values()), code=0, header=HEADER)


def _row(seeds: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    protocol = seeds[0]["protocol"]
    options = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in
               protocol["options"].items()]  # fmt: skip
    averaged = ["averaged weights"] if protocol["weights"] == "ema" else []
    return (
        "\n".join([protocol["evaluator"], *options, *averaged]),
        "\n".join(f"{name}: {value}" for name, value in values([each["metrics"] for each in seeds])),
        protocol["split"] or "-",
        "\n".join(_counts(protocol)) or "-",
        f"{protocol['step']:,}",
        ", ".join(str(seed) for seed in sorted(each["protocol"]["seed"] for each in seeds)),
    )


def _counts(protocol: Mapping[str, Any]) -> Iterator[str]:
    """How many images the numbers are of."""
    generated, real, most, count = map(protocol.get, ("generated_images", "real_images", "images", "count"))
    if isinstance(generated, int) and isinstance(real, int):
        yield from (f"{generated:,} generated", f"{real:,} real")
    elif count is not None:
        yield f"{most:,} of {count:,}" if isinstance(most, int) and most < count else f"{count:,}"


def values(seeds: Sequence[Metrics]) -> Iterator[tuple[str, str]]:
    """Names and values with error bars; metrics that are an error bar themselves are not listed again."""
    first = seeds[0]
    for name in first:
        if any(name.endswith(ending) and name.removesuffix(ending) in first for ending in (*DEVIATIONS, *BOUNDS)):
            continue
        found = [each for metrics in seeds if (each := metrics.get(name)) is not None]
        if len(found) == len(seeds):
            yield name, f"{number(statistics.fmean(found))}{_spread(found) or _bar(name, first)}"
        else:
            yield name, "not finite"


def _spread(found: Sequence[float]) -> str:
    return f" ± {statistics.stdev(found):.2g} (sd of {len(found)} seeds)" if len(found) > 1 else ""


def _bar(name: str, metrics: Metrics) -> str:
    """` ± 0.1 (sd)` or ` (0.9 to 1.1)`; empty for a number without error bar."""
    for ending, kind in DEVIATIONS.items():
        if (deviation := metrics.get(name + ending)) is not None:
            return f" ± {deviation:.2g} ({kind})"
    low, high = (metrics.get(name + ending) for ending in BOUNDS)
    return "" if low is None or high is None else f" ({number(low)} to {number(high)})"

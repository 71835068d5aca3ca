"""Statistics over interleaved rounds: medians, ratios formed within a round, spreads; a Markdown table.

A round is `{entry: row}`, one row per process, with the keys of `genlab bench`. Entries are named "<peer> <precision>".
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Round = dict[str, dict[str, Any]]
LABELS = {"images_per_cpu_s": "images per CPU second", "images_per_s": "images/s"}
EQUAL = ("workload", "params", "batch", "steps", "threads", "device")
OURS = "genlab"


def speed(row: dict[str, Any]) -> str:
    """The key to compare: per CPU second on one CPU thread, because wall time on a shared machine is unreliable.

    Otherwise per second: CPU time does not include a GPU's work, and several threads use it up while they wait.
    """
    return "images_per_cpu_s" if row["device"] == "cpu" and row["threads"] == 1 else "images_per_s"


def deciding(rounds: Sequence[Round]) -> str:
    return speed(next(iter(rounds[0].values())))


def check_equal(rounds: Sequence[Round]) -> None:
    """Raise ValueError unless all rows have the same work, in the precision that their entry's name states."""
    rows = [(entry, row) for round_ in rounds for entry, row in round_.items()]
    first, reference = rows[0]
    for entry, row in rows:
        for key in EQUAL:
            if row[key] != reference[key]:
                raise ValueError(f"not the same work: {key} is {row[key]} for {entry}, {reference[key]} for {first}")
        if entry.split()[-1] != row["precision"]:
            raise ValueError(f"not the precision asked for: {entry} ran in {row['precision']}")


def median(rounds: Sequence[Round], entry: str, key: str) -> float:
    return statistics.median(round_[entry][key] for round_ in rounds)


def spread(rounds: Sequence[Round], entry: str) -> float:
    """(largest − smallest) / median of the compared speed."""
    values = [round_[entry][deciding(rounds)] for round_ in rounds]
    return (max(values) - min(values)) / statistics.median(values)


def ratio(rounds: Sequence[Round], entry: str, other: str) -> float:
    """Median over rounds of entry ÷ other, of the compared speed: a machine that slows down affects both."""
    key = deciding(rounds)
    return statistics.median(round_[entry][key] / round_[other][key] for round_ in rounds)


def summary(rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """Medians and spread of each entry, and in `times` how many times as fast each entry of genlab is."""
    check_equal(rounds)
    entries = list(rounds[0])
    ours = [entry for entry in entries if entry.split()[0] == OURS]
    keys = (*LABELS, "first_step_s", "peak_rss")
    return {
        entry: {
            **{key: round(median(rounds, entry, key), 3) for key in keys},
            "spread": round(spread(rounds, entry), 3),
            "times": {mine: round(ratio(rounds, mine, entry), 3) for mine in ours},
        }
        for entry in entries
    }


def to_floor(rounds: Sequence[Round], precision: str) -> float:
    return ratio(rounds, f"{OURS} {precision}", f"floor {precision}")


def table(rounds: Sequence[Round], conditions: str = "") -> str:
    """The summary as Markdown, the compared speed first; a ratio above 1 means that genlab is faster."""
    found, row = summary(rounds), next(iter(rounds[0].values()))
    first = deciding(rounds)
    [second] = set(LABELS) - {first}
    ours = [entry for entry in found if entry.split()[0] == OURS]
    head = [
        "entry",
        f"{LABELS[first]} (decides)",
        "spread",
        LABELS[second],
        "first step, s",
        "peak RSS, MB",
        *(f"{mine} ÷ this" for mine in ours),
    ]
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
    for entry, said in found.items():
        lines.append([
            entry, rate(said[first]), f"{said['spread']:.0%}", rate(said[second]),
            f"{said['first_step_s']:.2f}", f"{said['peak_rss'] / 1e6:,.0f}",
            *("" if mine == entry else f"{said['times'][mine]:.2f}" for mine in ours),
        ])  # fmt: skip
    many = len(rounds)
    about = (
        f"**{row['workload']}**: {row['params']:,} parameters, batch {row['batch']}, {row['steps']} steps, "
        f"{row['threads']} thread{'s' * (row['threads'] > 1)}, {row['device']}, {many} round{'s' * (many > 1)}"
        f"{conditions}."
    )
    return "\n".join([about, "", *(f"| {' | '.join(cells)} |" for cells in lines), ""])


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"

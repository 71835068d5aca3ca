"""The table of a harness run, for a terminal, for docs/reliability.md, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.harness.runner import Result

SHOWN = 5  # failures of a class


def table(results: Sequence[Result]) -> str:
    """A Markdown table, one class a row."""
    rows = [["class", "tried", "failed", "promise"]]
    rows += [[each.faults.name, f"{each.tried:,}", f"{len(each.failures):,}", each.faults.promise] for each in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = [str.ljust, str.rjust, str.rjust, str.ljust]
    lines = [" | ".join(pad(cell, width) for pad, cell, width in zip(align, row, widths, strict=True)) for row in rows]
    return "\n".join(f"| {line} |" for line in [lines[0], " | ".join(["---", "---:", "---:", "---"]), *lines[1:]])


def failures(result: Result) -> list[str]:
    """The first failures of a class, each with the command that reproduces it, and why trials were skipped."""
    lines = []
    for number, text in sorted(result.failures.items())[:SHOWN]:
        lines += [f"{result.faults.name} {number}: {text}", f"    {result.reproduce(number)}"]
    reasons = list(result.skipped.values())
    return lines + [
        f"{result.faults.name}: {reasons.count(reason)} trials skipped: {reason}" for reason in sorted(set(reasons))
    ]


def save(results: Sequence[Result], path: Path) -> None:
    """Every figure and failure as JSON."""
    rows = [
        {"class": each.faults.name, "promise": each.faults.promise, "seed": each.seed, "tried": each.tried,
         "failed": len(each.failures), "failures": each.failures, "skipped": each.skipped}
        for each in results
    ]  # fmt: skip
    path.write_text(json.dumps(rows, indent=1) + "\n")

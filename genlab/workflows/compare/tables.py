"""A comparison as tables of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from genlab.utils.formatting import number
from genlab.utils.tables import aligned
from genlab.workflows.compare.comparison import Comparison
from genlab.workflows.compare.metrics import Metric, spread
from genlab.workflows.compare.verdicts import Pair, method


class Table(NamedTuple):
    """A header, rows and a title."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(comparison: Comparison, most_keys: int | None = None) -> Iterator[Table]:
    """What differs, the metrics and the verdicts; tables without rows are left out."""
    groups = comparison.groups
    letters = [group.letter for group in groups]
    rows = [[group.letter, group.label, str(len(group.runs)), ", ".join(map(str, group.seeds))] for group in groups]
    yield Table("Groups", ("", "configuration", "runs", "seeds"), rows)
    keys = [[key, *values] for key, values in comparison.differences.items()]
    if keys:
        shown = keys[:most_keys]
        more = [[f"({len(keys) - len(shown)} more)", *[""] * len(letters)]] if len(shown) < len(keys) else []
        yield Table("What differs", ("key", *letters), [*shown, *more])
    if comparison.metrics:
        rows = [[metric.title, *(cell(metric, letter) for letter in letters)] for metric in comparison.metrics]
        yield Table("Metrics", ("metric", *letters), rows)
    if comparison.pairs:
        yield Table("Verdicts", ("metric", "pair", "difference", "interval", "p", "p (Holm)", "verdict"),
                    [verdict_row(pair) for pair in comparison.pairs])  # fmt: skip
    if comparison.not_compared:
        yield Table("Not compared", ("why", "metrics"), list(_reasons(comparison.not_compared)))


def cell(metric: Metric, letter: str) -> str:
    """`9.31 ± 0.42 (3)`: mean and deviation over training seeds, and how many; `*`: over the sampling seeds of one."""
    values = metric.values.get(letter)
    if not values:
        return "-"
    summary = metric.over_training(letter)
    if summary.n > 1:
        return f"{number(summary.mean)} ± {summary.sd:.2g} ({summary.n})"
    sampling = spread(values)
    return f"{number(summary.mean)}{f' ± {sampling:.2g}*' if sampling is not None else ''} (1)"


def verdict_row(pair: Pair) -> list[str]:
    """A row of the table of verdicts."""
    test, names = pair.test, f"{pair.second} − {pair.first}"
    if test is None:
        ours, theirs = (pair.metric.over_training(letter).mean for letter in (pair.first, pair.second))
        return [pair.metric.title, names, f"{theirs - ours:+.4g}", "-", "-", "-", pair.verdict]
    interval = f"{test.low:+.3g} to {test.high:+.3g}"
    return [pair.metric.title, names, f"{test.difference:+.4g}", interval, _p(test.p), _p(pair.adjusted), pair.verdict]


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"


def _reasons(not_compared: Mapping[str, str]) -> Iterator[list[str]]:
    """Each reason with its metrics."""
    by_reason: dict[str, list[str]] = {}
    for metric, reason in not_compared.items():
        by_reason.setdefault(reason, []).append(metric)
    return ([reason, ", ".join(names)] for reason, names in by_reason.items())


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison as lines of text, as outside a terminal."""
    for table in tables(comparison):
        yield from (table.title, *aligned(table.header, table.rows), "")
    yield from notes(comparison)


def notes(comparison: Comparison) -> Iterator[str]:
    """Sentences below the tables: the method, and runs that were left out."""
    yield from method(comparison.pairs, comparison.alpha)
    yield from (f"Left out: {reason}." for reason in comparison.left_out)

"""The figures of claims as tables: of this machine beside the ledger, and the page docs/results.md."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genlab.errors import GenlabError
from genlab.workflows.reproduce import runs
from genlab.workflows.reproduce.claims import Claims, Row
from genlab.workflows.reproduce.ledger import Figures, Ledger

NOTHING, SHOWN = "-", Path("outputs/results")
Source = Callable[[Claims, str, Row], Figures | None]  # the section, the name of a run folder, the row
SUMMARY: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "least": min,
}
HEAD = """# Results

This page lists every measured number beside the published one, with the commands that give it.

```bash
genlab reproduce                          # the claims, and what they cost
genlab reproduce linear rbm               # train and measure them, and compare with this page
genlab reproduce --all-cheap              # all that take two hours of one core together
```

The page is made from one file, `genlab/workflows/reproduce/ledger.json`, by `genlab reproduce --page docs/results.md`;
only the published numbers are typed in. For each run the ledger has its configuration, the day, the commit of genlab,
the seed and the machine, which the table below the figures repeats. Numbers are measured on the test split, which was
not used for any choice, unless a row says otherwise. Losses are in nats, summed over the pixels of an image. "±" is the
standard deviation over training runs with different seeds, or, where a row has one run, over sampling seeds.

Runs of 2026-11-20 with a seed other than 0 are from a time when `seed` also chose the validation images: add
`dataset.split_seed=SEED` to their commands to train on the same images. Some defaults have changed since then, so the
configuration of such a run is another one than its command gives today (the hashes differ); the commit says which.
"""


@dataclass(frozen=True)
class Measured:
    """The figure of a row: over `n` of its `of` runs. `spread`: over runs, or over the sampling seeds of one."""

    value: float
    spread: float | None
    n: int
    of: int
    digits: int

    def __str__(self) -> str:
        text = f"{self.value:.{self.digits}f}"
        if self.spread is not None:
            text += f" ± {self.spread:.{self.digits}f}"
        count = f"{self.n} runs" if self.n == self.of else f"{self.n} of {self.of} runs"
        return f"{text} ({count})" if self.of > 1 else text

    def near(self, other: Measured, tolerance: float) -> bool:
        """Whether the two differ by no more than the fraction, or by half of the last digit."""
        return math.isclose(self.value, other.value, rel_tol=tolerance, abs_tol=0.5 * 10**-self.digits)


def measured(row: Row, part: Claims, source: Source) -> Measured | None:
    """The figure of a row, from those of its runs that have it."""
    names = part.folders(row.runs)
    found = [figures.metrics for name in names if (figures := source(part, name, row))]
    if not found:
        return None
    values = [metrics[row.metric] for metrics in found]
    spread = found[0].get(runs.deviation(row.metric)) if len(names) == 1 else None
    if len(values) > 1 and row.statistic == "mean":
        spread = statistics.stdev(values)
    return Measured(SUMMARY[row.statistic](values), spread, len(values), len(names), row.digits)


def in_ledger(ledger: Ledger) -> Source:
    """The stored figures of runs, if their overrides and their protocol are those of the claim."""

    def figures(part: Claims, name: str, row: Row) -> Figures | None:
        entry = ledger.recall(name, part.of(name).overrides)
        found = entry.figures.get(row.evaluator) if entry else None
        usable = found and row.metric in found.metrics and row.protocol.items() <= found.protocol.items()
        return found if usable else None

    return figures


def in_folder(folder: Path) -> Source:
    """The figures of finished runs below a folder; GenlabError for those that are not the claimed ones."""
    return lambda part, name, row: runs.figures(part, name, folder, row)


@dataclass
class Comparison:
    """A table of `figure, here, stored, published, verdict`, and the rows that are not well.

    `missed` figures are too far from the stored ones; `errors` say why others cannot be used.
    """

    rows: list[list[str]] = field(default_factory=list)
    missed: int = 0
    errors: list[GenlabError] = field(default_factory=list)


def comparison(parts: Iterable[Claims], here: Source, stored: Source) -> Comparison:
    """Every row of the claims. One that cannot be used is shown as failed, and the others beside it."""
    table = Comparison()
    for part in parts:
        for row in part.rows:
            own, known, verdict = None, measured(row, part, stored), ""
            try:
                own = measured(row, part, here)
            except GenlabError as error:
                table.errors.append(error)
                verdict = f"FAILED: {error}"
            if own and known:
                near = own.near(known, row.tolerance)
                verdict = f"within {row.tolerance:.0%}" if near else f"OFF by more than {row.tolerance:.0%}"
                table.missed += not near
            figures = [str(each or NOTHING) for each in (own, known)]
            table.rows.append([row.what, *figures, row.published or NOTHING, verdict])
    return table


def page(claims: Mapping[str, Claims], ledger: Ledger) -> str:
    """docs/results.md."""
    return "\n".join([HEAD, *(line for name, part in claims.items() for line in _section(name, part, ledger))])


def _section(name: str, part: Claims, ledger: Ledger) -> Iterator[str]:
    """The Markdown lines of one file of claims; rows without a figure are counted, not shown."""
    shown = [(row, found) for row in part.rows if (found := measured(row, part, in_ledger(ledger)))]
    yield from (f"## {part.title}", "")
    if shown:
        yield from ("| what | measured | published |", "| --- | --- | --- |")
        yield from (f"| {row.what} | {found} | {row.published or NOTHING} |" for row, found in shown)
        yield ""
    if len(shown) < len(part.rows):
        yield from (f"To be measured: {len(part.rows) - len(shown)} more rows (`genlab reproduce {name}`).", "")
    yield from _curves(part, ledger)
    if part.notes:
        yield from (part.notes.strip(), "")
    for image in part.images:
        yield from (f"![{Path(image).stem}]({Path(image).relative_to('docs')})", "")
    yield from _origins(part, ledger)
    yield "```"
    for run in part.in_order(part.runs):
        yield from _commands(run, part)
    yield from ("```", "")


def _curves(part: Claims, ledger: Ledger) -> Iterator[str]:
    for curve in part.curves:
        entries = {name: ledger.recall(name, part.of(name).overrides) for name in part.folders(curve.runs)}
        known = {name: entry.curves[curve.metric] for name, entry in entries.items()
                 if entry and curve.metric in entry.curves}  # fmt: skip
        if known:
            yield from (f"| run | `{curve.metric}` on validation images, after optimizer steps |", "| --- | --- |")
            yield from (f"| `{name}` | {text} |" for name, text in known.items())
            yield ""


def _origins(part: Claims, ledger: Ledger) -> Iterator[str]:
    """What produced the figures: one line for each run."""
    names = part.folders(list(part.runs))
    entries = {name: entry for name in names if (entry := ledger.recall(name, part.of(name).overrides))}
    if entries:
        yield from ("| run | configuration | day | commit | seed | machine |", "| --- | --- | --- | --- | --- | --- |")
        for name, each in entries.items():
            yield f"| `{name}` | {each.config} | {each.day} | {each.commit} | {each.seed} | {each.machine} |"
        yield ""


def _commands(name: str, part: Claims) -> Iterator[str]:
    """The commands of a run as lines of a shell, each with the folder that those after it name."""
    run = part.runs[name]
    yield f"genlab {shlex.join(run.train_words(name, SHOWN))}"
    for wanted in run.evaluations():
        options = shlex.join(wanted.options)
        if run.seeds == 1:
            yield f"genlab eval {shlex.quote(str(SHOWN / name))} {options}"
        else:
            seeds = " ".join(map(str, range(run.seeds)))
            run_of_seed = f"{shlex.quote(str(SHOWN / name))}/$seed-seed=$seed"
            yield f"for seed in {seeds}; do genlab eval {run_of_seed} {options}; done"

"""A comparison as one HTML page that can be sent to others: no scripts, images inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from genlab.reports import html_page
from genlab.reports.charts import line_chart, strip_chart
from genlab.reports.report import LAST_CHARTS, curves, images_by_name, step_of
from genlab.workflows.compare.comparison import Comparison
from genlab.workflows.compare.groups import Group, Run
from genlab.workflows.compare.tables import notes, tables

COLORS = 8  # CSS classes g0 ... g7; of more groups the first have curves
MOST_CHARTS = 40
STEPS = 3  # at which images are shown
COLUMNS = 6  # of images side by side
MOST_IMAGES, MOST_BYTES = 30, 2**26  # names of images in a page, and what their files hold together
Points = Sequence[tuple[float, float]]


class Column(NamedTuple):
    """A run whose images are shown, and its caption."""

    caption: str
    run: Run


def page(comparison: Comparison, command: str) -> bytes:
    """The whole page; `command` made it."""
    groups = comparison.groups
    found = {table.title: table for table in tables(comparison)}

    def table(title: str, note: str = "", classes: Sequence[str] = ()) -> str:
        if title not in found:
            return ""
        html = html_page.table(found[title].rows, code=0, header=found[title].header, classes=classes)
        return html_page.section(title, f'<div class="scroll {title.split()[0].lower()}">{html}</div>', note)

    different = ["different" if pair.verdict.startswith("different") else "" for pair in comparison.pairs]
    runs = sum(len(group.runs) for group in groups)
    title = f"Comparison of {len(groups)} configurations" if len(groups) > 1 else f"Seeds of {groups[0].label}"
    return html_page.page(
        title,
        [
            html_page.header(title, "", [f"{runs} runs", " / ".join(group.label for group in groups)], command),
            table("Groups", "runs that differ only in the seed are one group", list(map(_color, range(len(groups))))),
            table("Verdicts", "the method is below", different),
            table("Metrics", "mean ± standard deviation (training seeds)"),
            html_page.section("Every seed", html_page.gallery("curves", _strips(comparison)), "one dot for each run"),
            html_page.section("Images", html_page.gallery("stacked", _images(groups)),
                              _first(groups, COLUMNS, "at equal steps")),
            html_page.section("Curves", _curves(groups[:COLORS]), _first(groups, COLORS, _curve_note(groups))),
            table("What differs", "keys of the configuration; of the record in parentheses"),
            table("Not compared"),
            html_page.section("Method", html_page.paragraphs(notes(comparison))),
        ],
    )  # fmt: skip


def _color(index: int) -> str:
    return f"g{index % COLORS}"


def _first(groups: Sequence[Group], most: int, note: str) -> str:
    return f"{note}; the first {most} of {len(groups)} configurations" if len(groups) > most else note


def _curves(groups: Sequence[Group]) -> str:
    charts = html_page.gallery("curves", _charts(groups))
    return _legend(groups) + charts if charts else ""


def _legend(groups: Sequence[Group]) -> str:
    names = [f"{group.letter} {group.label}" for group in groups]
    return f'<p class="legend">{html_page.legend({_color(i): name for i, name in enumerate(names)})}</p>'


def _curve_note(groups: Sequence[Group]) -> str:
    many = any(len(group.runs) > 1 for group in groups)
    return f"over optimizer steps{'; thin: each seed, thick: their mean' if many else ''}"


def _strips(comparison: Comparison) -> Iterator[str]:
    for metric in comparison.metrics:
        rows = [(group.letter, _color(index), [each.mean for each in metric.values[group.letter].values()])
                for index, group in enumerate(comparison.groups) if group.letter in metric.values]  # fmt: skip
        yield html_page.chart(metric.title, strip_chart(rows), ())


def _charts(groups: Sequence[Group]) -> Iterator[str]:
    """A chart of each number that two groups have, all their runs in it: of validation, else of training."""
    by_group = [[_validation(curves(run.path)) for run in group.runs] for group in groups]
    have = [dict.fromkeys(name for run in runs for name in run) for runs in by_group]
    shared = [name for name in dict.fromkeys(name for names in have for name in names)
              if sum(name in names for names in have) >= min(2, len(groups))]  # fmt: skip
    for name in sorted(shared, key=lambda name: name.rpartition("/")[2] in LAST_CHARTS)[:MOST_CHARTS]:
        series: dict[str, Points] = {}
        for index, (group, runs) in enumerate(zip(groups, by_group, strict=True)):
            series |= _series(_color(index), group, [run[name] for run in runs if name in run])
        if drawing := line_chart(series):
            yield html_page.chart(name, drawing, ())


def _validation(found: Mapping[str, Mapping[str, Points]]) -> dict[str, Points]:
    return {name: splits.get("valid") or next(iter(splits.values())) for name, splits in found.items()}


def _series(color: str, group: Group, lines: Sequence[Points]) -> dict[str, Points]:
    """CSS classes and points of a group: each run, and their mean where all have a point."""
    if len(lines) < 2:
        return {f"{color} mean {group.letter}": points for points in lines}
    values: dict[float, list[float]] = {}
    for points in lines:
        for x, y in points:
            values.setdefault(x, []).append(y)
    mean = [(x, sum(found) / len(found)) for x, found in sorted(values.items()) if len(found) == len(lines)]
    seeds: dict[str, Points] = {f"{color} seed {group.letter}{number}": points for number, points in enumerate(lines)}
    return seeds | {f"{color} mean {group.letter}": mean}


def _columns(groups: Sequence[Group]) -> list[Column]:
    """A run of each group, of one seed if there is one that all have; the runs of a single group."""
    if len(groups) == 1:
        return [Column(f"seed {run.seed}", run) for run in groups[0].runs[:COLUMNS]]
    shared = set.intersection(*(set(group.seeds) for group in groups))
    chosen = [next((run for run in group.runs if shared and run.seed == min(shared)), group.runs[0])
              for group in groups[:COLUMNS]]  # fmt: skip
    return [Column(f"{group.letter} {group.label}, seed {run.seed}", run)
            for group, run in zip(groups, chosen, strict=False)]  # fmt: skip


def _images(groups: Sequence[Group]) -> Iterator[str]:
    """For each name that two columns have: the images of the last step that all have, and of earlier ones. Of
    MOST_IMAGES names, as long as there is room in MOST_BYTES."""
    columns = _columns(groups)
    found = [images_by_name(column.run.path) for column in columns]
    room = MOST_BYTES
    for name in list(dict.fromkeys(name for images in found for name in images))[:MOST_IMAGES]:
        having = [(column, images[name]) for column, images in zip(columns, found, strict=True) if name in images]
        if len(having) < min(2, len(columns)):
            continue
        rows = list(_rows(having))
        room -= sum(path.lstat().st_size for row in rows for _, path in row)
        if room < 0:
            return
        yield html_page.images_beside(name, rows)


def _rows(having: Sequence[tuple[Column, Sequence[Path]]]) -> Iterator[list[tuple[str, Path]]]:
    by_step = [{step_of(path): path for path in paths} for _, paths in having]
    steps = sorted(set.intersection(*map(set, by_step)))
    if not steps:  # runs of other lengths: the last of each
        yield [(f"{column.caption}, step {step_of(paths[-1]):,}", paths[-1]) for column, paths in having]
    few = min(STEPS, len(steps))
    for step in [steps[len(steps) - 1 - i * len(steps) // few] for i in range(few)]:  # the last one first
        yield [
            (f"{column.caption}, step {step:,}", each[step]) for (column, _), each in zip(having, by_step, strict=True)
        ]

"""Line charts as SVG text, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from genlab.utils.formatting import number

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 30  # margins of the plot, in the same units
STRIP = 24  # height of a row of dots, and width of its label
POINTS = 300  # of a line; more are averaged in groups
KEPT = 2**14  # of a line, before that
START = 0.05  # fraction of the run whose values may be cut off ...
WILD = 3  # ... if they would make the vertical range this many times larger ...
MANY = 20  # ... and there are so many points
LARGEST, SMALLEST = 1e100, 1e-100  # values beyond are left out, and ranges below are widened: their ends would overflow


class Curve:
    """Points in order of which a bounded number is kept: of more, each is the mean of equally many neighbors."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._next: list[tuple[float, float]] = []  # those of the next mean
        self._size = 1

    def add(self, x: float, y: float) -> None:
        self._next.append((x, y))
        if len(self._next) == self._size:
            self._points.append(_mean(self._next))
            self._next = []
        if len(self._points) == KEPT:
            self._points = [_mean(self._points[i : i + 2]) for i in range(0, KEPT, 2)]
            self._size *= 2

    def points(self) -> list[tuple[float, float]]:
        return [*self._points, _mean(self._next)] if self._next else self._points


def line_chart(series: Mapping[str, Points]) -> str:
    """One `<svg>` with a line for each named series of (step, value); the CSS classes are the series' names.

    Values that are not finite or beyond ±1e100 are left out. A line that begins far outside what follows is cut off
    at the edge. A single value has no line: the result is empty.
    """
    lines = {name: _thin([(x, y) for x, y in points if abs(y) < LARGEST]) for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    if sum(map(len, lines.values())) < 2:
        return ""
    everything = [point for points in lines.values() for point in points]
    x_low, x_high = _wide(min(x for x, _ in everything), max(x for x, _ in everything))
    y_low, y_high = value_range(everything, after=x_low + START * (x_high - x_low))

    def to_svg(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for y in ticks(y_low, y_high, 5):
        _, down = to_svg(x_low, y)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{number(y)}</text>')
    for x in ticks(x_low, x_high, 5):
        across, _ = to_svg(x, y_low)
        parts.append(f'<text x="{across:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{number(x)}</text>')
    # an inner <svg> cuts off what lies outside the plot
    parts.append(f'<svg x="0" y="{TOP}" width="{WIDTH}" height="{HEIGHT - TOP - BOTTOM}" '
                 f'viewBox="0 {TOP} {WIDTH} {HEIGHT - TOP - BOTTOM}">')  # fmt: skip
    for name, points in lines.items():
        parts.append(_line(name, [to_svg(x, y) for x, y in points]))
    return "".join([*parts, "</svg></svg>"])


def strip_chart(rows: Sequence[tuple[str, str, Sequence[float]]]) -> str:
    """One `<svg>` with a row of dots for each (label, CSS class, values), all on one scale, the means as bars.

    Values must be finite, and each row must have one at least.
    """
    values = [value for _, _, found in rows for value in found]
    low, high = _wide(min(values), max(values), margin=0.05)
    height = STRIP * len(rows) + BOTTOM

    def across(value: float) -> float:
        return STRIP + (value - low) / (high - low) * (WIDTH - STRIP - RIGHT)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img">']
    for value in ticks(low, high, 4):
        x = f"{across(value):.1f}"
        parts.append(f'<line class="rule" x1="{x}" x2="{x}" y1="0" y2="{height - BOTTOM}"/>')
        parts.append(f'<text x="{x}" y="{height - 10}" text-anchor="middle">{number(value)}</text>')
    for index, (label, name, found) in enumerate(rows):
        down, style = STRIP * (index + 0.5), f'class="line {escape(name, quote=True)}"'
        parts.append(f'<text x="4" y="{down + 4:.1f}">{escape(label)}</text>')
        parts += [f'<circle {style} cx="{across(value):.1f}" cy="{down:.1f}" r="4"/>' for value in found]
        x = f"{across(sum(found) / len(found)):.1f}"
        parts.append(f'<line {style} x1="{x}" x2="{x}" y1="{down - 8:.1f}" y2="{down + 8:.1f}"/>')
    return "".join([*parts, "</svg>"])


def _line(name: str, places: Points) -> str:
    label = f'class="line {escape(name, quote=True)}"'
    if len(places) == 1:
        return f'<circle {label} cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>'
    return f'<polyline {label} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'


def _thin(points: Points) -> Points:
    """At most POINTS points, each the mean of equally many neighbors."""
    size = -(-len(points) // POINTS) or 1
    return [_mean(points[i : i + size]) for i in range(0, len(points), size)]


def _mean(points: Points) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def value_range(points: Points, after: float) -> tuple[float, float]:
    """The vertical range: of all points, or of the later ones if the first are far outside."""
    values, later = [y for _, y in points], [y for x, y in points if x >= after]
    wild = len(values) >= MANY and max(values) - min(values) > WILD * (max(later) - min(later)) > 0
    return _wide(min(later if wild else values), max(later if wild else values), margin=0.05)


def _wide(low: float, high: float, margin: float = 0.0) -> tuple[float, float]:
    """A range of some width, with a margin on either side."""
    room = (high - low) * margin
    if high - low <= max(1e-12 * max(abs(low), abs(high)), SMALLEST):
        room = abs(low) * 0.1 if abs(low) > SMALLEST else 1.0
    return low - room, high + room


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 1 round numbers (1, 2 or 5 times a power of ten apart) between `low` and `high`."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [i * apart for i in range(math.ceil(low / apart), math.floor(high / apart) + 1)]

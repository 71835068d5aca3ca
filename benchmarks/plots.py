"""Small plots with logarithmic axes, as self-contained SVG files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Line = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 34, 44
COLORS = ("#2563eb", "#c2410c", "#15803d", "#7e22ce")
STYLE = "text{font:12px sans-serif;fill:#444}line{stroke:#ddd}polyline{fill:none;stroke-width:2}"


def log_log(lines: Mapping[str, Line], below: str) -> str:
    """One `<svg>` with a line and points for each named series; `below` labels the horizontal axis.

    Raises ValueError for a number that is not positive.
    """
    points = [point for line in lines.values() for point in line]
    if any(value <= 0 for point in points for value in point):
        raise ValueError("a logarithmic axis takes positive numbers")
    across, up = _range([x for x, _ in points]), _range([y for _, y in points], margin=0.1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + _share(x, across) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - _share(y, up) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">',
             f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']  # fmt: skip
    for y in _round_numbers(*up):
        _, down = place(points[0][0], y)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{_number(y)}</text>')
    for x in sorted({x for x, _ in points}):
        right, _ = place(x, points[0][1])
        parts.append(f'<text x="{right:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_number(x)}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(below)}</text>')
    for index, (name, line) in enumerate(lines.items()):
        color, places = COLORS[index % len(COLORS)], [place(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline stroke="{color}" points="{path}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        parts.append(f'<text x="{LEFT + 190 * index}" y="18" style="fill:{color}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = map(math.log, limits)
    return (math.log(value) - low) / (high - low)


def _range(values: list[float], margin: float = 0.0) -> tuple[float, float]:
    """At least a factor of two, so that a flat line looks flat."""
    low, high = min(values) * (1 - margin), max(values) * (1 + margin)
    widen = max(1.0, math.sqrt(2 * low / high))
    return low / widen, high * widen


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two limits; only the powers if there are enough."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [value for value in found if low <= value <= high]
    tens = [value for value in inside if f"{value:e}"[0] == "1"]
    return tens if len(tens) >= 4 else inside


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"

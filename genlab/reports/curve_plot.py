"""Curves with error bars as an image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from genlab.core.values import Image
from genlab.reports.charts import ticks
from genlab.reports.scatter import COLORS
from genlab.utils.formatting import number

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Color = str | tuple[int, int, int]
Points = Sequence[tuple[float, float, float]]  # x, y, and the standard deviation of y, or 0

WIDTH, HEIGHT = 640, 420  # pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 34, 52  # margins
FINE = 2  # drawn so many times larger and then reduced, for smooth lines
FONT, ROW, DOT, CAP, DASH = 13, 18, 4, 4, 6  # pixels: text, legend rows, markers, half the ends of error bars, dashes
TEXT, RULE, LEVEL = (60, 60, 60), (225, 225, 225), (130, 130, 130)


@dataclass(frozen=True)
class Axes:
    """Where points lie: x linear or to base 2, y linear or logarithmic; `low` and `high` are the ends of the axes, as
    logarithms where an axis is logarithmic."""

    low: tuple[float, float]
    high: tuple[float, float]
    log_y: bool
    log_x: bool = True

    @classmethod
    def around(cls, xs: Iterable[float], ys: Iterable[float], log_y: bool, log_x: bool = True) -> Axes:
        """Axes that hold all values, with a margin."""
        scaled = [math.log2(x) if log_x else x for x in xs], [math.log10(y) if log_y else y for y in ys]
        rooms = [0.05 * (max(each) - min(each)) or 0.1 for each in scaled]
        low = tuple(min(each) - room for each, room in zip(scaled, rooms, strict=True))
        high = tuple(max(each) + room for each, room in zip(scaled, rooms, strict=True))
        return cls((low[0], low[1]), (high[0], high[1]), log_y, log_x)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels across and down of a point; a y at or below 0 lies on the lower edge of a logarithmic axis."""
        height = (math.log10(y) if y > 0 else self.low[1]) if self.log_y else y
        across = ((math.log2(x) if self.log_x else x) - self.low[0]) / (self.high[0] - self.low[0])
        up = max(0.0, (height - self.low[1]) / (self.high[1] - self.low[1]))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def x_ticks(self) -> list[float]:
        """Powers of two, or round numbers."""
        if not self.log_x:
            return ticks(self.low[0], self.high[0], 6)
        return [2.0**power for power in range(math.ceil(self.low[0]), math.floor(self.high[0]) + 1)]

    def y_ticks(self) -> list[float]:
        """Round numbers: 1, 2 and 5 times powers of ten, only the powers if there are many, all if few."""
        if not self.log_y:
            return ticks(self.low[1], self.high[1], 5)
        powers = range(math.floor(self.low[1]), math.ceil(self.high[1]) + 1)
        factors = (1, 2, 5) if self.high[1] - self.low[1] < 3 else (1,)
        found = [factor * 10.0**power for power in powers for factor in factors]
        inside = [y for y in found if self.low[1] <= math.log10(y) <= self.high[1]]
        return inside if len(inside) > 1 else ticks(10 ** self.low[1], 10 ** self.high[1], 5)


def curve_plot(
    curves: Mapping[str, Points],
    title: str,
    across: str,
    log_y: bool,
    levels: Mapping[str, float],
    log_x: bool = True,
) -> Image:
    """A line with markers and error bars for each named curve, and a dashed line for each named level, with a legend.

    With `log_x`, for quantities measured at powers of two, x is above 0. Values of y that are not finite, or with
    `log_y` not above 0, are left out.
    """
    import PIL.Image
    from PIL.ImageDraw import Draw

    def shown(y: float) -> bool:
        return math.isfinite(y) and (y > 0 or not log_y)

    curves = {name: sorted(point for point in points if shown(point[1])) for name, points in curves.items()}
    levels = {name: y for name, y in levels.items() if shown(y)}
    image = PIL.Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), "white")
    pen = Pen(Draw(image))
    pen.text((LEFT, TOP - 12), title, "ls")
    pen.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10), across, "ms")
    points = [point for each in curves.values() for point in each]
    if points:
        ends = [y for _, y, sd in points for y in (y, y - sd, y + sd) if shown(y)]
        axes = Axes.around((x for x, _, _ in points), [*ends, *levels.values()], log_y, log_x)
        pen.rules(axes)
        for y in levels.values():
            pen.level(axes, y)
        for color, each in zip(line_colors(len(curves)), curves.values(), strict=True):
            pen.curve(axes, each, color)
        entries: dict[str, Color] = {
            **dict(zip(curves, line_colors(len(curves)), strict=True)),
            **dict.fromkeys(levels, LEVEL),
        }
        pen.legend(entries, _legend_top(axes, points, len(entries)))
    pixels = np.asarray(image.resize((WIDTH, HEIGHT), PIL.Image.Resampling.LANCZOS))
    return Image(torch.from_numpy(pixels.transpose(2, 0, 1).copy()))


def line_colors(count: int) -> list[str]:
    """Colors for `count` lines, neighbors far apart."""
    return [COLORS[(3 * i) % len(COLORS)] for i in range(count)]


def _legend_top(axes: Axes, points: Points, rows: int) -> float:
    """Where the legend begins: in the upper right corner, or in the lower one if the curves end above the middle."""
    last = max(x for x, _, _ in points)
    ends = [axes.place(x, y)[1] for x, y, _ in points if x > last / 2]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return TOP + 14 if sum(ends) / len(ends) > middle else HEIGHT - BOTTOM - 14 - ROW * (rows - 1)


class Pen:
    """Draws in pixels of the finished image."""

    def __init__(self, draw: ImageDraw) -> None:
        from PIL import ImageFont

        self._draw, self._font = draw, ImageFont.load_default(FONT * FINE)

    def text(self, at: tuple[float, float], text: str, anchor: str) -> None:
        self._draw.text((at[0] * FINE, at[1] * FINE), text, fill=TEXT, font=self._font, anchor=anchor)

    def line(self, ends: Sequence[tuple[float, float]], color: Color, width: int = 1) -> None:
        self._draw.line([(x * FINE, y * FINE) for x, y in ends], fill=color, width=width * FINE)

    def dot(self, at: tuple[float, float], color: str) -> None:
        self._draw.ellipse([part * FINE for part in (at[0] - DOT, at[1] - DOT, at[0] + DOT, at[1] + DOT)], fill=color)

    def rules(self, axes: Axes) -> None:
        """Lines behind the curves with their numbers, at ticks of both axes."""
        for y in axes.y_ticks():
            _, down = axes.place(1, y)
            self.line([(LEFT, down), (WIDTH - RIGHT, down)], RULE)
            self.text((LEFT - 8, down), number(y), "rm")
        for x in axes.x_ticks():
            across, _ = axes.place(x, 1)
            self.line([(across, TOP), (across, HEIGHT - BOTTOM)], RULE)
            self.text((across, HEIGHT - BOTTOM + 6), f"{x:g}", "mt")

    def level(self, axes: Axes, y: float) -> None:
        _, down = axes.place(1, y)
        for left in range(LEFT, WIDTH - RIGHT, 2 * DASH):
            self.line([(left, down), (left + DASH, down)], LEVEL)

    def curve(self, axes: Axes, points: Points, color: str) -> None:
        places = [axes.place(x, y) for x, y, _ in points]
        for start, end in pairwise(places):
            self.line([start, end], color, 2)
        for (x, y, sd), place in zip(points, places, strict=True):
            self.dot(place, color)
            if sd > 0:
                ends = [axes.place(x, y - sd), axes.place(x, y + sd)]
                self.line(ends, color)
                for across, down in ends:
                    self.line([(across - CAP, down), (across + CAP, down)], color)

    def legend(self, names: Mapping[str, Color], top: float) -> None:
        """At the right edge, from `top` down; a curve without a name is left out."""
        named = [name for name in names if name]
        width = max((self._font.getlength(name) / FINE for name in named), default=0)
        left = WIDTH - RIGHT - 8 - width
        box = left - 32, top - ROW / 2, WIDTH - RIGHT, top + ROW * (len(named) - 0.5)
        if named:
            self._draw.rectangle([part * FINE for part in box], fill="white")
        for row, name in enumerate(named):
            down = top + ROW * row
            self.line([(left - 26, down), (left - 8, down)], names[name], 2)
            self.text((left, down), name, "lm")

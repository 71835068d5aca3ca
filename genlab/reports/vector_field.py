"""A plot of the plane: a scalar as color, a vector field as arrows, points, and a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genlab.core.values import Image

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

LOW, HIGH = (103, 169, 207), (239, 138, 98)  # blue where classified as fake, red as real; white between
INK, ARROW = (70, 70, 70), (110, 110, 110)
DATA, SAMPLES = (120, 120, 120), (0, 90, 50)  # points: gray and green
HEAD = 6  # pixels: the length of an arrow's head, at most
LABEL = 18  # pixels reserved for the other number of a corner

Pixel = tuple[float, float]  # across, down


def in_the_plane(points: Tensor) -> bool:
    """Whether points (N, D, 1, 1) have two coordinates: only a plane can be drawn."""
    return points[0].numel() == 2


@dataclass(frozen=True)
class Window:
    """The part of the plane between `low` and `high` (x, y), drawn as `side` pixels square; y grows upwards."""

    low: tuple[float, float]
    high: tuple[float, float]
    side: int = 480

    @classmethod
    def around(cls, points: Tensor, margin: float = 0.2, side: int = 480) -> Window:
        """A square that holds points (N, 2), with a margin as a fraction of its half."""
        middle = (points.amax(0) + points.amin(0)) / 2
        half = float((points - middle).abs().max().clamp_min(1e-6)) * (1 + margin)
        (x, y) = middle.tolist()
        return cls((x - half, y - half), (x + half, y + half), side)

    def lattice(self, count: int) -> Tensor:
        """The middles (count², 2) of count x count cells, rows from top to bottom."""
        part = (torch.arange(count) + 0.5) / count
        across = self.low[0] + part * (self.high[0] - self.low[0])
        down = self.high[1] - part * (self.high[1] - self.low[1])
        y, x = torch.meshgrid(down, across, indexing="ij")
        return torch.stack([x, y], -1).flatten(0, 1)

    def pixels(self, points: Tensor) -> list[Pixel]:
        """Points (N, 2) as pixels (across, down)."""
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        across = (points.cpu() - low) / (high - low) * self.side
        return [(x, self.side - y) for x, y in across.tolist()]


Dots = tuple[Tensor, tuple[int, int, int], float]  # points (N, 2), their color, their radius in pixels


def plot(
    window: Window,
    value: Callable[[Tensor], Tensor] | None,
    arrows: Callable[[Tensor], Tensor] | None,
    dots: Sequence[Dots] = (),
    path: Tensor | None = None,
    marks: Sequence[Dots] = (),
    cells: int = 96,
    grid: int = 20,
) -> Image:
    """From back to front: `value` (N, 2) -> (N,) in [-1, 1] as color, dots, `arrows` (N, 2) -> (N, 2) on a common
    scale, a path (T, 2), and the dots of `marks`. The window's limits are written at its edges.
    """
    import PIL.Image
    from PIL.ImageDraw import Draw

    image = PIL.Image.fromarray(_colored(value, window, cells)).resize(
        (window.side, window.side), PIL.Image.Resampling.BILINEAR
    )
    draw = Draw(image)
    _dots(draw, window, dots)
    if arrows:
        _arrows(draw, window, window.lattice(grid), arrows)
    if path is not None:
        _path(draw, window.pixels(path))
    _dots(draw, window, marks)
    _limits(draw, window)
    return Image(torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()))


def _colored(value: Callable[[Tensor], Tensor] | None, window: Window, cells: int) -> np.ndarray:
    level = torch.zeros(cells, cells) if value is None else value(window.lattice(cells)).view(cells, cells).cpu()
    level = level.nan_to_num().clamp(-1, 1)[:, :, None]
    white, low, high = (torch.tensor(color, dtype=torch.float32) for color in ((255, 255, 255), LOW, HIGH))
    colors = white + level.clamp_min(0) * (high - white) - level.clamp_max(0) * (low - white)
    return colors.round().to(torch.uint8).numpy()


def _dots(draw: ImageDraw, window: Window, dots: Sequence[Dots]) -> None:
    for points, color, radius in dots:
        for x, y in window.pixels(points):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _arrows(draw: ImageDraw, window: Window, at: Tensor, arrows: Callable[[Tensor], Tensor]) -> None:
    """Lengths follow the square root, so that short arrows are visible; the longest spans a cell."""
    moves = arrows(at).cpu().nan_to_num()
    length = moves.norm(dim=1, keepdim=True)
    longest = float(length.max())
    if not longest > 0:
        return
    cell = (window.high[0] - window.low[0]) / len(at) ** 0.5
    steps = moves / length.clamp_min(1e-30) * (length / longest).sqrt() * cell * 0.9
    starts, ends = window.pixels(at - steps / 2), window.pixels(at + steps / 2)
    for start, end in zip(starts, ends, strict=True):
        _arrow(draw, start, end)


def _arrow(draw: ImageDraw, start: Pixel, end: Pixel) -> None:
    """A line with a head of at most half its length."""
    across, down = end[0] - start[0], end[1] - start[1]
    length = math.hypot(across, down)
    if length < 1:
        return
    head = min(HEAD, length / 2) / length
    neck = (end[0] - across * head, end[1] - down * head)
    half = (-down * head / 2, across * head / 2)
    draw.line((*start, *neck), fill=ARROW)
    draw.polygon([end, (neck[0] + half[0], neck[1] + half[1]), (neck[0] - half[0], neck[1] - half[1])], fill=INK)


def _limits(draw: ImageDraw, window: Window) -> None:
    """The numbers at the four ends of the axes: left and right at the bottom, bottom and top on the left."""
    side = window.side
    left, bottom, right, top = (f"{value:.3g}" for value in (*window.low, *window.high))
    for text, position, anchor in (
        (left, (LABEL, side - 3), "ls"), (right, (side - 3, side - 3), "rs"),
        (bottom, (3, side - LABEL), "ls"), (top, (3, 3), "lt"),
    ):  # fmt: skip
        draw.text(position, text, fill=INK, anchor=anchor, stroke_width=2, stroke_fill="white")


def _path(draw: ImageDraw, pixels: list[Pixel]) -> None:
    """A line that darkens from gray at its start to black."""
    for index, (start, end) in enumerate(pairwise(pixels)):
        shade = int(190 * (1 - index / max(1, len(pixels) - 1)))
        draw.line((*start, *end), fill=(shade, shade, shade), width=2)

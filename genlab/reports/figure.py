"""Figures for papers: curves with bands, drawn by matplotlib, which the extra `plot` installs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genlab.errors import ConfigError
from genlab.reports.charts import LARGEST, START, value_range
from genlab.reports.curve_plot import line_colors
from genlab.utils.formatting import number
from genlab.utils.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 200  # of a PNG
LETTERS = 15  # of a legend in an inch
FEW_POWERS = 1e3  # a logarithmic axis with a smaller ratio of its ends has plain numbers
STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#e4e4e4", "legend.frameon": False, "lines.linewidth": 1.4,
    "svg.hashsalt": "genlab", "pdf.fonttype": 42,  # the same bytes each time; fonts that publishers take
}  # fmt: skip
UNDATED: dict[str, Mapping[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


@dataclass(frozen=True)
class Line:
    """A curve (T,) over x (T,), with the ends of its band, or None. NaN breaks it. Lines of one `series` share a color;
    `dashed` tells two of them apart."""

    series: str
    x: np.ndarray
    y: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves on one pair of axes; `dashes` says what a dashed line is, if there are any."""

    title: str
    lines: Sequence[Line]
    dashes: str = ""


def require_matplotlib() -> None:
    """ConfigError if the extra is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConfigError("matplotlib is not installed", "genlab plot", "pip install 'genlab[plot]'") from None


def columns_of(panels: int) -> int:
    """How many panels stand side by side."""
    return 2 if panels == 4 else min(3, panels)


def figure(
    panels: Sequence[Panel], across: str, legend_title: str, log_y: bool, size: tuple[float, float], kind: str
) -> bytes:
    """A "svg", "pdf" or "png" file of `size` inches; `across` names the x axis. The same panels give the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(line.series for panel in panels for line in panel.lines))
    colors = dict(zip(series, line_colors(len(series)), strict=True))
    columns = columns_of(len(panels))
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=size, layout="constrained")
        axes = drawing.subplots(-(-len(panels) // columns), columns, squeeze=False).flatten()
        for panel, ax in zip(panels, axes, strict=False):
            _draw(ax, panel, colors, log_y)
            ax.set_xlabel(across)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        _legend(drawing, axes[0], panels, colors, legend_title)
        buffer = io.BytesIO()
        drawing.savefig(buffer, format=kind, dpi=DPI, metadata=dict(UNDATED[kind]))
    return buffer.getvalue()


def _draw(ax: Axes, panel: Panel, colors: Mapping[str, str], log_y: bool) -> None:
    points = _points(panel.lines)
    if log_y and not any(y > 0 for _, y in points):
        raise ConfigError(f"{panel.title} has no value above 0", "key logy", "leave it out")
    for line in panel.lines:
        color = colors[line.series]
        mark = "o" if np.isfinite(line.y).sum() < 2 else None  # a single value makes no line
        ax.plot(
            line.x, _bounded(line.y), color=color, linestyle="--" if line.dashed else "-", marker=mark, markersize=4
        )
        if line.band:
            bottom, top = map(_bounded, line.band)
            ax.fill_between(line.x, bottom, top, color=color, alpha=0.2, linewidth=0)
    ax.set_ylabel(_text(panel.title))
    ax.locator_params(axis="x", nbins=6)
    ax.xaxis.set_major_formatter(_thousands)
    if log_y:
        ax.set_yscale("log", nonpositive="mask")
        _log_ticks(ax)
    elif points:
        low, high = min(x for x, _ in points), max(x for x, _ in points)
        ax.set_ylim(value_range(points, after=low + START * (high - low)))


def _thousands(value: float, _: object) -> str:
    """20k, 1.5M: digits that fit below a narrow panel."""
    unit, letter = next((each for each in ((1e6, "M"), (1e3, "k")) if abs(value) >= 10 * each[0]), (1.0, ""))
    return f"{value / unit:g}{letter}"


def _log_ticks(ax: Axes) -> None:
    """Plain numbers 1, 2, 5, 10, ... where the axis spans few powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = ax.get_ylim()
    if high / low < FEW_POWERS:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 5, 6, 8)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda value, _: number(value))


def _bounded(y: np.ndarray) -> np.ndarray:
    return np.where(np.abs(y) < LARGEST, y, np.nan)


def _points(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """What the y axis has to hold: finite points of curves and of their bands."""
    found = [(line.x, y) for line in lines for y in (line.y, *(line.band or ()))]
    return [(float(a), float(b)) for x, y in found for a, b in zip(x, y, strict=True) if abs(b) < LARGEST]


def _legend(drawing: Any, first: Axes, panels: Sequence[Panel], colors: Mapping[str, str], title: str) -> None:
    """In the only panel, if it is short; otherwise below."""
    from matplotlib.lines import Line2D

    entries = [(name, Line2D([], [], color=color)) for name, color in colors.items() if len(colors) > 1 or title]
    dashes = dict.fromkeys(panel.dashes for panel in panels if panel.dashes)
    entries += [(name, Line2D([], [], color="#555555", linestyle="--")) for name in dashes]
    if not entries:
        return
    names, handles = [_text(name) for name, _ in entries], [handle for _, handle in entries]
    if len(panels) == 1 and len(names) <= 4 and max(map(len, names)) <= 32:
        first.legend(handles, names, title=title, title_fontsize="small")
        return
    room = LETTERS * drawing.get_figwidth()
    columns = max(1, min(len(names), int(room / (8 + max(map(len, names))))))
    drawing.legend(handles, names, title=title, title_fontsize="small", loc="outside lower center", ncols=columns)


def _text(text: str) -> str:
    """Words of a stranger's file as plain text: `$` begins no formula, and a leading `_` hides no entry."""
    plain = printable(text).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain

"""Training progress: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from genlab.core.values import Logger
from genlab.registry import LOGGERS, PositiveFloat
from genlab.runs.band_watch import BAND
from genlab.utils.formatting import duration, number
from genlab.utils.terminal import console, echo, is_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

SPEED = "images_per_second"


@LOGGERS("console")
class Console(Logger):
    """Step, losses, images/s and time left, on standard output.

    A terminal gets one view that redraws itself; anything else gets plain ASCII lines, those of training at
    most one in `every` seconds. When the run enters or leaves its experiment's band, a line says so.
    """

    def __init__(self, every: PositiveFloat = 5.0) -> None:
        self._every = every
        self._first = self._last = self._step = 0
        self._title = ""
        self._began, self._printed = 0.0, -math.inf
        self._values: dict[str, dict[str, float]] = {}  # by split
        self._band = ""
        self._live: Live | None = None

    def start(self, first_step: int, last_step: int, title: str) -> None:
        self._first = self._step = first_step
        self._last, self._title = last_step, title
        self._began = time.monotonic()
        if is_terminal(sys.stdout):
            from rich.live import Live

            # the view is drawn by a thread, from numbers that are already on the host
            self._live = Live(console=console(), get_renderable=self._view, refresh_per_second=2)
            self._live.start()
        else:
            _say(f"{title}: step {first_step} of {last_step}")

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        self._step = step
        self._values = {**self._values, split: dict(values)}  # replaced whole: the view's thread reads it
        if self._live is None:
            self._line(split)

    def text(self, step: int, name: str, text: str) -> None:
        if name != BAND:  # diagnoses are printed by the trainer
            return
        self._band = text
        if self._live is None:
            _say(f"step {step}/{self._last}  {text}")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def seconds_left(self) -> float | None:
        """At the mean speed since this process began; None before the first step is known."""
        done = self._step - self._first
        return (time.monotonic() - self._began) / done * (self._last - self._step) if done > 0 else None

    def _line(self, split: str) -> None:
        now = time.monotonic()
        if split == "train":
            if now - self._printed < self._every and self._step < self._last:
                return
            self._printed = now
        values = self._values[split]
        words = [f"step {self._step}/{self._last}", split]
        words += [f"{name} {number(value)}" for name, value in values.items() if name != SPEED]
        if SPEED in values:
            words.append(f"{number(values[SPEED])} images/s")
        left = self.seconds_left()
        if split == "train" and left is not None:
            words.append(f"{duration(left)} left")
        _say("  ".join(words))

    def _view(self) -> RenderableType:
        """A bar, and a table with a row for each name and a column for each split."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        speed = self._values.get("train", {}).get(SPEED)
        left = self.seconds_left()
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(self._title, style="bold"),
            ProgressBar(total=max(1, self._last), completed=self._step, width=30),
            Text(f"{self._step}/{self._last}"),
            Text("" if speed is None else f"{number(speed)} images/s", style="cyan"),
            Text("" if left is None else f"{duration(left)} left", style="green"),
        )
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("", *self._values):
            table.add_column(heading, justify="right" if heading else "left")
        names = dict.fromkeys(name for values in self._values.values() for name in values if name != SPEED)
        for name in names:
            cells = (values.get(name) for values in self._values.values())
            table.add_row(Text(name), *("" if cell is None else number(cell) for cell in cells))
        return Group(bar, *([Text(self._band, style="dim")] if self._band else []), table)


def _say(line: str) -> None:
    echo(line.encode("ascii", "replace").decode())

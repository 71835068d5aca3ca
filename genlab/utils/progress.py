"""A bar for work that is done before training: building a data store."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from genlab.utils.terminal import console, is_terminal, say

Show = Callable[[int, int], None]  # images done, images in all


@contextlib.contextmanager
def store_progress(title: str = "decoding images") -> Iterator[Show]:
    """A callback for the store builder: a bar on a terminal, a line every tenth of the work elsewhere."""
    if not is_terminal(sys.stderr):
        yield _lines(title)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, rate="")
        rate = _rate()
        yield lambda done, total: bar.update(task, completed=done, total=total, rate=rate(done))


def _lines(title: str) -> Show:
    shown, rate = 0, _rate()

    def show(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // max(total, 1)
        if tenth > shown:
            shown = tenth
            say(f"{title}: {done} of {total}, {rate(done)}")

    return show


def _rate() -> Callable[[int], str]:
    """Images a second since now, in words."""
    began = time.perf_counter()
    return lambda done: f"{done / (time.perf_counter() - began):,.0f} images/s"

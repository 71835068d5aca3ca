"""A bar for work that is done before training: building a data store."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


def say(text: str) -> None:
    """A line for the person at the terminal; that nobody reads it is no reason to fail."""
    with contextlib.suppress(OSError):
        print(f"genlab: {text}", file=sys.stderr, flush=True)


Show = Callable[[int, int], None]  # images done, images in all


@contextlib.contextmanager
def store_progress(title: str = "decoding images") -> Iterator[Show]:
    """A callback for the store builder: a bar on a terminal, a line every tenth of the work elsewhere."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str) -> Show:
    shown = 0

    def show(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // max(total, 1)
        if tenth > shown:
            shown = tenth
            say(f"{title}: {done} of {total}")

    return show

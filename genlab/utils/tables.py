"""Tables: rich's on a terminal, aligned columns of plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def show(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print rows of text under a header; what a terminal would obey (a foreign run's names) is shown as `?`."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*header, title=title or None, title_justify="left", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        Console().print(table)
        return
    if title:
        print(title)
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

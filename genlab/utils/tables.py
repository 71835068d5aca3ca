"""Tables: rich's on a terminal, aligned columns of plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from genlab.utils.terminal import console, echo, is_terminal, printable


def show(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print rows of text under a header."""
    rows = [[printable(cell) for cell in row] for row in rows]  # their true widths
    if is_terminal(sys.stdout):
        from rich.markup import escape
        from rich.table import Table

        table = Table(*header, title=title or None, title_justify="left", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        console().print(table)
        return
    if title:
        echo(title)
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

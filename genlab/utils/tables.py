"""Tables: rich's on a terminal, aligned columns of plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

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
    echo(*([title] if title else []), *aligned(header, rows))


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of plain text whose columns stand below one another."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def show_records(records: Sequence[Mapping[str, Any]], json: bool) -> None:
    """Print records as JSON, or, if all have the same keys, as a table."""
    from genlab.utils.files import dump_json

    if json:
        echo(*dump_json(list(records)).decode().splitlines())
    elif records:
        keys = list(records[0])
        rows = [["-" if record[key] is None else str(record[key]) for key in keys] for record in records]
        show(keys, rows)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with a header, every key of any record; what a record lacks, and None, is an empty cell.

    Text that a spreadsheet would take for a formula gets a quote before it: names of runs come from anywhere.
    """
    import csv
    import io

    out = io.StringIO()
    keys = dict.fromkeys(_cell(key) for row in rows for key in row)
    writer = csv.DictWriter(out, list(keys), lineterminator="\n")
    writer.writeheader()
    writer.writerows({_cell(key): _cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else printable(value)

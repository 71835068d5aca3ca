"""Pieces of a self-contained HTML page: style and images are embedded; no scripts.

Arguments named `html` are trusted markup made here; everything else is text and is escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def page(title: str, html: Iterable[str]) -> str:
    style = Path(__file__).with_suffix(".css").read_text("utf-8")
    return PAGE.format(title=escape(title), style=style, body="\n".join(html))


def header(title: str, status: str, summary: Iterable[str], path: str) -> str:
    badge = f'<span class="status {escape(status)}">{escape(status)}</span>'
    return (
        f"<header><h1>{escape(title)} {badge}</h1>\n<p>{escape(' · '.join(summary))}</p>\n"
        f"<p><code>{escape(path)}</code></p></header>"
    )


def breakable(name: str) -> str:
    """A name as HTML that may break lines after "/" and "_" only."""
    return re.sub("([/_])", r"\1<wbr>", escape(name))


def section(heading: str, html: str, note: str = "") -> str:
    """A section with a heading; empty if it has no content."""
    aside = f" <small>{escape(note)}</small>" if note else ""
    return f"<section><h2>{escape(heading)}{aside}</h2>\n{html}\n</section>" if html else ""


def cards(figures: Iterable[tuple[str, str, str]]) -> str:
    """Boxes, each with a name, a value and a note."""
    boxes = "".join(
        f"<div><dt>{breakable(name)}</dt><dd>{escape(value)} <small>{escape(note)}</small></dd></div>\n"
        for name, value, note in figures
    )
    return f'<dl class="cards">{boxes}</dl>' if boxes else ""


def table(rows: Iterable[tuple[str, ...]], code: int, header: tuple[str, ...] = ()) -> str:
    """Columns, of which number `code` is set as code; empty without rows. Cells may have several lines."""
    lines = []
    for row in rows:
        cells = [escape(cell).replace("\n", "<br>") for cell in row]
        cells[code] = f"<code>{cells[code]}</code>"
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n")
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{''.join(lines)}</table>" if lines else ""


def image_figure(name: str, last: tuple[str, Path], earlier: Iterable[tuple[str, Path]]) -> str:
    """The last image of a name, and smaller earlier ones below it, each with its caption."""
    small = "".join(f"<figure>{image(path)}<figcaption>{escape(note)}</figcaption></figure>" for note, path in earlier)
    caption = f"<figcaption><b>{breakable(name)}</b> · {escape(last[0])}</figcaption>"
    return f'<figure class="images">{caption}{image(last[1])}<div class="earlier">{small}</div></figure>\n'


def image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'


def chart(name: str, html: str, splits: Iterable[str]) -> str:
    keys = " ".join(f'<span class="key {escape(split)}">{escape(split)}</span>' for split in splits)
    return f'<figure class="curve"><figcaption><b>{breakable(name)}</b> {keys}</figcaption>{html}</figure>\n'


def note(content: str) -> str:
    return f'<p class="alone">{escape(content)}</p>'


def gallery(name: str, html: Iterable[str]) -> str:
    """Figures side by side, as many as there is room for."""
    inside = "".join(html)
    return f'<div class="{escape(name)}">{inside}</div>' if inside else ""


def text(content: str) -> str:
    return f"<pre>{escape(content)}</pre>"

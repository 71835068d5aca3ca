"""Pieces of a self-contained HTML page: style and images are embedded; no scripts.

Arguments named `html` are trusted markup made here; everything else is text and is escaped.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from genlab.utils.files import read_bounded

IMAGE_LIMIT = 2**26  # bytes of one image in a page

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


def page(title: str, html: Iterable[str]) -> bytes:
    """The whole page in UTF-8; what has no place in it, as names of files may hold, becomes "?"."""
    style = Path(__file__).with_suffix(".css").read_text("utf-8")
    return PAGE.format(title=escape(title), style=style, body="\n".join(html)).encode(errors="replace")


def header(title: str, status: str, summary: Iterable[str], path: str) -> str:
    badge = f' <span class="status {escape(status)}">{escape(status)}</span>' if status else ""
    return (
        f"<header><h1>{escape(title)}{badge}</h1>\n<p>{escape(' · '.join(summary))}</p>\n"
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


def table(rows: Iterable[Sequence[str]], code: int, header: Sequence[str] = (), classes: Iterable[str] = ()) -> str:
    """Columns, of which number `code` is set as code; empty without rows. Cells may have several lines.

    `classes`: the CSS class of each row.
    """
    lines = []
    for row, name in zip(rows, itertools.chain(classes, itertools.repeat("")), strict=False):
        cells = [escape(cell).replace("\n", "<br>") for cell in row]
        cells[code] = f"<code>{cells[code]}</code>"
        mark = f' class="{escape(name)}"' if name else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n")
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{''.join(lines)}</table>" if lines else ""


def image_figure(name: str, last: tuple[str, Path], earlier: Iterable[tuple[str, Path]]) -> str:
    """The last image of a name, and smaller earlier ones below it, each with its caption."""
    small = "".join(_captioned(caption, path) for caption, path in earlier)
    caption = f"<figcaption><b>{breakable(name)}</b> · {escape(last[0])}</figcaption>"
    return f'<figure class="images">{caption}{image(last[1])}<div class="earlier">{small}</div></figure>\n'


def images_beside(name: str, rows: Iterable[Iterable[tuple[str, Path]]]) -> str:
    """Rows of images side by side, each with its caption."""
    html = "".join(
        f'<div class="beside">{"".join(_captioned(caption, path) for caption, path in row)}</div>' for row in rows
    )
    return f'<figure class="images"><figcaption><b>{breakable(name)}</b></figcaption>{html}</figure>\n'


def _captioned(caption: str, path: Path) -> str:
    return f"<figure>{image(path)}<figcaption>{escape(caption)}</figcaption></figure>"


def image(path: Path) -> str:
    """OSError or ValueError if the file is a link, or longer than IMAGE_LIMIT bytes."""
    data = base64.b64encode(read_bounded(path, IMAGE_LIMIT)).decode()
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'


def legend(keys: Mapping[str, str]) -> str:
    """The name of each CSS class of lines, beside its color."""
    return " ".join(f'<span class="key {escape(each)}">{escape(name)}</span>' for each, name in keys.items())


def chart(name: str, html: str, splits: Iterable[str]) -> str:
    keys = legend({split: split for split in splits})
    return f'<figure class="curve"><figcaption><b>{breakable(name)}</b> {keys}</figcaption>{html}</figure>\n'


def note(content: str) -> str:
    return f'<p class="alone">{escape(content)}</p>'


def paragraphs(sentences: Iterable[str]) -> str:
    return f'<div class="notes">{"".join(f"<p>{escape(each)}</p>" for each in sentences)}</div>'


def gallery(name: str, html: Iterable[str]) -> str:
    """Figures side by side, as many as there is room for."""
    inside = "".join(html)
    return f'<div class="{escape(name)}">{inside}</div>' if inside else ""


def text(content: str) -> str:
    return f"<pre>{escape(content)}</pre>"

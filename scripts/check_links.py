"""Checks that the file and the heading of every relative link and image in the documentation exist.

`python scripts/check_links.py [FOLDER]` prints `file:line: broken link X` for each that leads nowhere, and exits 1.
Links to the web are not followed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/*.md")
FENCE = re.compile(r"^\s*(```+|~~~+)")
CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")
# [text](target), ![text](target "title"), [text](<target>); and [label]: target at the start of a line
INLINE = re.compile(r"\]\(\s*(?:<([^>]*)>|([^\s)]+))(?:\s+[\"'(][^)]*)?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s*<?([^\s>]+)")
HTML = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)[\"']")
HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.+?)\s*#*\s*$")
ANCHOR = re.compile(r"<\w+\b[^>]*?\b(?:id|name)=[\"']([^\"']+)[\"']")
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines outside fenced code, numbered from 1."""
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        marker = FENCE.match(line)
        if fence:
            if marker and marker[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
        elif marker:
            fence = marker[1]
        else:
            yield number, line


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Each target with its line; code is skipped."""
    for number, line in prose(page):
        text = CODE.sub("", line)
        for match in INLINE.finditer(text):
            yield number, match[1] or match[2]
        for pattern in (REFERENCE, HTML):
            for match in pattern.finditer(text):
                yield number, match[1]


def slug(heading: str) -> str:
    """The anchor of a heading as on the code host: lower case, no punctuation, spaces become hyphens."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """All anchors of a page; repeated headings end in -1, -2 and so on."""
    found: set[str] = set()
    for _, line in prose(page):
        found.update(ANCHOR.findall(line))
        heading = HEADING.match(line)
        if heading:
            name, again = slug(heading[1]), 0
            while (f"{name}-{again}" if again else name) in found:
                again += 1
            found.add(f"{name}-{again}" if again else name)
    return found


def leads_somewhere(page: Path, target: str, root: Path) -> bool:
    path, _, fragment = unquote(target).partition("#")
    path = path.partition("?")[0]
    there = (page.parent / path).resolve() if path else page.resolve()
    if not there.exists() or not there.is_relative_to(root.resolve()):
        return False
    return not fragment or there.suffix != ".md" or fragment in anchors(there)


def broken(root: Path) -> Iterator[str]:
    """One line for each broken link below `root`."""
    for pattern in PAGES:
        for page in sorted(root.glob(pattern)):
            for number, target in links(page):
                if not ELSEWHERE.match(target) and not leads_somewhere(page, target, root):
                    yield f"{page.relative_to(root)}:{number}: broken link {target}"


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    found = list(broken(root))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
